/** A target that does everything wrong, case by case: it proves that the harness sees it. */
import { demand, type FuzzTarget } from '../target.ts';

/** The cases; the input's first byte is the number of its case. */
const WRONGS: Readonly<Record<number, () => void>> = {
  3: () => demand(false, 'an oracle disagrees'),
  5: () => {
    throw new TypeError('a defect');
  },
  11: () => kept.push(new Uint8Array(300 << 20)),
  13: () => {
    const all: unknown[] = [];
    for (;;) all.push(Array.from({ length: 10_000 }, (_, i) => ({ i })));
  },
  17: () => {
    for (;;) kept.length = 0;
  },
};
const kept: Uint8Array[] = [];

/** See the module's comment; no part of a run over all targets. */
export const selfTestTarget: FuzzTarget = {
  name: 'self-test',
  codes: ['tar-invalid'],
  cases: 0,
  async open() {
    return {
      make: (random) => ({ bytes: Uint8Array.of(random.number), mended: false }),
      check: ({ bytes }) => WRONGS[bytes[0]!]?.(),
    };
  },
};
