# SPDX-License-Identifier: GPL-2.0-or-later
"""Python's unittest with TAP as its output."""

import sys
import unittest

# Seconds that a test waits for what does happen: a host may be busy
PATIENCE = 180


class Tap(unittest.TestResult):
    """Prints a line per test."""

    def _line(self, test, word, remark=''):
        what = test.shortDescription() or test.id().rpartition('.')[2]
        name = '.'.join(test.id().split('.')[-2:])
        print(f'{word} {self.testsRun} - {name}: {what}{remark}', flush=True)

    def _fail(self, test, error):
        self._line(test, 'not ok')
        text = self._exc_info_to_string(error, test)
        print('# ' + text.rstrip().replace('\n', '\n# '), flush=True)

    def addSuccess(self, test):
        self._line(test, 'ok')

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._line(test, 'ok', f' # SKIP {reason}')

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._fail(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        self._fail(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            self._fail(subtest, err)


def main(usage, modules):
    """Run the tests of @modules that the arguments name, or all."""
    if '--help' in sys.argv:
        sys.exit(usage.strip())
    loader = unittest.TestLoader()
    loader.testNamePatterns = [f'*{a}*' for a in sys.argv[1:]] or None
    suite = unittest.TestSuite(loader.loadTestsFromModule(module)
                               for module in modules)
    print(f'1..{suite.countTestCases()}')
    result = Tap()
    suite.run(result)
    sys.exit(not result.wasSuccessful())
