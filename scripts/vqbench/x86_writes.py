# SPDX-License-Identifier: GPL-2.0-or-later
"""Which memory an x86-64 instruction writes, and where that is."""

import capstone
from capstone import x86

# In the order of struct user_regs_struct. One more, past the end, is zero.
REGISTERS = ['r15', 'r14', 'r13', 'r12', 'rbp', 'rbx', 'r11', 'r10', 'r9',
             'r8', 'rax', 'rcx', 'rdx', 'rsi', 'rdi', 'orig_rax', 'rip', 'cs',
             'eflags', 'rsp', 'ss', 'fs_base', 'gs_base', 'ds', 'es', 'fs',
             'gs']
ZERO = len(REGISTERS)
RCX = REGISTERS.index('rcx')
RIP = REGISTERS.index('rip')
EFLAGS = REGISTERS.index('eflags')
RSP = REGISTERS.index('rsp')

_INDEX = {name: i for i, name in enumerate(REGISTERS)}
for _wide, _narrow in [('rax', 'eax'), ('rbx', 'ebx'), ('rcx', 'ecx'),
                       ('rdx', 'edx'), ('rsi', 'esi'), ('rdi', 'edi'),
                       ('rbp', 'ebp'), ('rsp', 'esp'),
                       *((f'r{i}', f'r{i}d') for i in range(8, 16))]:
    _INDEX[_narrow] = _INDEX[_wide]

# Capstone 4 says of many stores that they are loads. A memory operand that
# comes first is written, except by these.
_READERS = {'bt', 'call', 'clflush', 'clflushopt', 'clwb', 'cmp', 'div',
            'fxrstor', 'fxrstor64', 'idiv', 'imul', 'jmp', 'lcall', 'ldmxcsr',
            'ljmp', 'mul', 'nop', 'prefetch', 'prefetchnta', 'prefetcht0',
            'prefetcht1', 'prefetcht2', 'prefetchw', 'test', 'vldmxcsr',
            'xrstor', 'xrstor64'}
_X87_WRITERS = ('fst', 'fnst', 'fist', 'fbst', 'fxsave', 'fnsave')

_LEGACY_PREFIXES = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0,
                    0xf2, 0xf3}

_MASK_64 = (1 << 64) - 1


class Write:
    """The memory operand of an instruction that writes it."""
    # pylint: disable=too-few-public-methods
    __slots__ = ('base', 'index', 'scale', 'segment', 'displacement', 'size',
                 'mask', 'locked')

    def __init__(self, base, index, scale, segment, displacement, size):
        self.base, self.index, self.scale = base, index, scale
        self.segment, self.displacement = segment, displacement
        self.size = max(size, 1)
        self.mask = _MASK_64
        self.locked = False

    def address(self, regs):
        """Where the write goes when the registers are @regs."""
        return ((regs[self.base] + regs[self.index] * self.scale +
                 self.displacement & self.mask) + regs[self.segment] &
                _MASK_64)


class Instruction:
    """What the stepper has to know of an instruction, once per address."""
    # pylint: disable=too-few-public-methods
    __slots__ = ('text', 'size', 'is_call', 'repeats', 'write')

    def __init__(self, text, size=0, is_call=False, repeats=False,
                 write=None):
        self.text, self.size, self.is_call = text, size, is_call
        self.repeats, self.write = repeats, write


_disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
_disassembler.detail = True


def _operand(insn, operand):
    mem = operand.mem
    displacement = mem.disp
    names = [insn.reg_name(reg) if reg else None
             for reg in (mem.base, mem.index, mem.segment)]
    if names[0] in ('rip', 'eip'):
        displacement += insn.address + insn.size
        names[0] = None
    if names[1] in ('riz', 'eiz'):
        names[1] = None
    if any(name and name not in _INDEX for name in names[:2]):
        return None     # a vector of addresses: no compiler does it unasked
    segment = {'fs': _INDEX['fs_base'], 'gs': _INDEX['gs_base']}
    write = Write(_INDEX.get(names[0], ZERO), _INDEX.get(names[1], ZERO),
                  mem.scale, segment.get(names[2], ZERO), displacement,
                  operand.size)
    if insn.addr_size == 4:
        write.mask = 0xffffffff
    return write


def _is_written(mnemonic, position):
    if mnemonic == 'xchg':
        return True
    if position or mnemonic in _READERS:
        return False
    if mnemonic.startswith('f'):
        return mnemonic.startswith(_X87_WRITERS)
    return True


def _find_write(insn, mnemonic):
    if mnemonic in ('push', 'call', 'pushfq', 'pushal', 'enter', 'lcall'):
        return Write(_INDEX['rsp'], ZERO, 1, ZERO, -8, 8)
    if mnemonic in ('cmpsb', 'cmpsw', 'cmpsq', 'outsb', 'outsw', 'outsd'):
        return None
    if mnemonic == 'cmpsd' and insn.id == x86.X86_INS_CMPSD and \
            insn.operands[0].type == x86.X86_OP_MEM:
        return None
    if mnemonic in ('maskmovdqu', 'vmaskmovdqu', 'maskmovq'):
        return Write(_INDEX['rdi'], ZERO, 1, ZERO, 0, 16)
    for position, operand in enumerate(insn.operands):
        if operand.type == x86.X86_OP_MEM:
            return (_operand(insn, operand)
                    if _is_written(mnemonic, position) else None)
    return None


def decode(code, address):
    """The Instruction that begins with the bytes @code, at @address."""
    insn = next(_disassembler.disasm(code, address, 1), None)
    if insn is None:
        return Instruction('(unknown)')
    words = insn.mnemonic.split()
    mnemonic = words[-1]
    prefixes = set()
    for byte in code:
        if byte not in _LEGACY_PREFIXES:
            break
        prefixes.add(byte)
    write = _find_write(insn, mnemonic)
    if write:
        write.locked = 0xf0 in prefixes or mnemonic == 'xchg'
    return Instruction(f'{insn.mnemonic} {insn.op_str}'.strip(), insn.size,
                       mnemonic == 'call',
                       words[0] in ('rep', 'repe', 'repz', 'repne', 'repnz'),
                       write)
