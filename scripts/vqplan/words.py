# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands as a shell reads them, as far as command lines of QEMU need it."""

from . import PlanError


class _Reader:
    """Characters, and the line that they are on."""

    def __init__(self, text):
        self._text = text
        self._place = 0
        self.line = 1

    def next(self):
        """One, or '' at the end."""
        char = self._text[self._place:self._place + 1]
        self._place += 1
        self.line += char == '\n'
        return char

    def peek(self):
        """The one that next() will return."""
        return self._text[self._place:self._place + 1]

    def until(self, end, escapes):
        """What is before @end; a backslash takes the special meaning away."""
        start = self.line
        found = []
        while (char := self.next()) != end:
            if char == '\\' and escapes and self.peek() in ('"', '\\', '$',
                                                            '`', '\n'):
                char = self.next().replace('\n', '')
            elif char == '$' and escapes and self.peek() == '(':
                char = self.substitution()
            elif not char:
                raise PlanError(f'line {start}: the {end} is not closed')
            found.append(char)
        return ''.join(found)

    def substitution(self):
        """What is in a $(...), as it stands."""
        start = self.line
        depth = 0
        found = ['$']
        while depth or len(found) < 2:
            char = self.next()
            if not char:
                raise PlanError(f'line {start}: the $( is not closed')
            depth += (char == '(') - (char == ')')
            found.append(char)
        return ''.join(found)

    def comment(self):
        """Leave it out."""
        while self.peek() not in ('', '\n'):
            self.next()


def commands(text):
    """Yields each as a list of (line, word)."""
    if '\0' in text:
        # /proc/PID/cmdline
        yield [(1, word) for word in text.rstrip('\0').split('\0')]
        return
    reader = _Reader(text)
    command, word, line = [], None, 1

    def end_word():
        nonlocal word
        if word is not None:
            command.append((line, word))
        word = None

    in_array = False
    while char := reader.next():
        if word is None and not char.isspace() and char not in '#;':
            line = reader.line
        if char == '#' and word is None:
            reader.comment()
        elif char in ' \t\r':
            end_word()
        elif char in '\n;&|':
            end_word()
            if char != '\n' or not in_array:
                yield command
                command = []
        elif char == '\\':
            char = reader.next()
            if char != '\n':
                word = (word or '') + char
        elif char == "'":
            word = (word or '') + reader.until("'", False)
        elif char == '"':
            word = (word or '') + reader.until('"', True)
        elif char == '$' and reader.peek() == '(':
            word = (word or '') + reader.substitution()
        elif char == '(' and (word or '').endswith('='):
            word, in_array = None, True
        elif char == ')' and word is None and in_array:
            in_array = False
        else:
            word = (word or '') + char
    end_word()
    yield command
