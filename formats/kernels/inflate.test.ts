import { constants, deflateRawSync, inflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sampleContent, seededRandom } from '../gzip/testing/samples.ts';
import { Inflater, inflateRoom, makeInflateMemory, pieceAt } from './inflate.ts';
import { type InflateMachine, WINDOW_BYTES } from './inflate-machine.ts';
import { BitWriter } from './testing/bit-writer.ts';
import { InflaterTwin } from './twins/inflate.ts';

interface Boundary {
  readonly input: number;
  readonly bits: number;
  readonly output: number;
  /** The bytes of the window before it that later blocks read. */
  readonly references: string;
}

interface Inflated {
  readonly output: Buffer;
  readonly boundaries: Boundary[];
  /** Input bytes consumed. */
  readonly consumed: number;
}

/** Drives a machine over a raw deflate stream, watching every `every`-th boundary to the next. */
function inflate(machine: InflateMachine, stream: Uint8Array, chunk = stream.length, every = 1): Inflated {
  const pieces: Buffer[] = [];
  const boundaries: Boundary[] = [];
  let watched: Omit<Boundary, 'references'> | undefined;
  const note = (): void => {
    if (watched !== undefined)
      boundaries.push({ ...watched, references: Buffer.from(machine.references(1)).toString('hex') });
  };
  let from = 0;
  let emitted = 0;
  let seen = 0;
  machine.begin(true);
  for (;;) {
    const stop = machine.run(from >= stream.length);
    if (stop === 'input') {
      from += machine.write(stream.subarray(0, Math.min(stream.length, from + chunk)), from);
    } else if (stop === 'boundary') {
      if (seen++ % every !== 0) continue;
      note();
      watched = { input: machine.inputOffset, bits: machine.spareBits, output: machine.outputOffset };
      machine.watch(1);
    } else {
      pieces.push(Buffer.from(machine.output(emitted)));
      emitted = machine.outputOffset;
      if (stop === 'end') break;
      machine.release();
    }
  }
  note();
  return { output: Buffer.concat(pieces), boundaries, consumed: machine.inputOffset };
}

/** Lengths of `count` symbols, zero but for those named. */
function lengths(count: number, named: Record<number, number>): number[] {
  return Array.from({ length: count }, (_, symbol) => named[symbol] ?? 0);
}

function zlibOutcome(stream: Uint8Array): Buffer | 'refused' {
  try {
    return inflateRawSync(stream);
  } catch {
    return 'refused';
  }
}

function outcome(machine: InflateMachine, stream: Uint8Array, chunk?: number): Buffer | 'refused' {
  try {
    return inflate(machine, stream, chunk).output;
  } catch (error) {
    expect(error).toMatchObject({ name: 'AccelError', code: 'gzip-invalid' });
    return 'refused';
  }
}

const content = sampleContent(2_500_000);
const streams: Record<string, Uint8Array> = {
  stored: deflateRawSync(content, { level: 0 }),
  fixed: deflateRawSync(content, { strategy: constants.Z_FIXED }),
  'fixed, small blocks': deflateRawSync(content, { strategy: constants.Z_FIXED, memLevel: 1 }),
  dynamic: deflateRawSync(content, { level: 6 }),
  'dynamic, small blocks': deflateRawSync(content, { level: 9, memLevel: 1 }),
  'run lengths': deflateRawSync(content, { strategy: constants.Z_RLE }),
  'literals only': deflateRawSync(content, { strategy: constants.Z_HUFFMAN_ONLY }),
  'far matches': deflateRawSync(Buffer.concat(new Array(60).fill(content.subarray(0, WINDOW_BYTES)))),
};

describe('valid streams', () => {
  for (const [name, stream] of Object.entries(streams)) {
    const plain = inflateRawSync(stream);
    test.each([321, 4096, 1 << 20])(`${name} in chunks of %i`, (chunk) => {
      const result = inflate(new Inflater(), stream, chunk);
      expect(Buffer.compare(result.output, plain)).toBe(0);
      expect(result.consumed).toBe(stream.length);
    });

    test(`${name}: boundaries and references are those of the plain twin`, () => {
      const fast = inflate(new Inflater(), stream, stream.length, 3);
      const slow = inflate(new InflaterTwin(), stream, stream.length, 3);
      expect(Buffer.compare(slow.output, plain)).toBe(0);
      expect(fast.boundaries).toEqual(slow.boundaries);
      if (!name.startsWith('stored')) expect(fast.boundaries.length).toBeGreaterThan(3);
    });
  }

  test('in chunks of one byte', () => {
    const stream = streams['dynamic, small blocks']!.subarray(0, 200_000);
    const whole = deflateRawSync(content.subarray(0, 300_000), { memLevel: 1 });
    expect(Buffer.compare(inflate(new Inflater(), whole, 1).output, content.subarray(0, 300_000))).toBe(0);
    expect(() => inflate(new Inflater(), stream, 1)).toThrow(expect.objectContaining({ code: 'gzip-invalid' }));
  });

  test('every match length and distance up to 40, and the farthest', () => {
    const bytes: number[] = [];
    const random = seededRandom(7);
    for (let distance = 1; distance <= 40; distance++) {
      for (let length = 3; length <= 40; length += 5 + (distance % 3)) {
        for (let i = 0; i < distance + 2; i++) bytes.push(random() & 255);
        for (let i = 0; i < length; i++) bytes.push(bytes.at(-distance)!);
      }
    }
    const start = Uint8Array.from(bytes);
    const all = Buffer.concat([start, sampleContent(WINDOW_BYTES - 300 - start.length), start.subarray(0, 300)]);
    const stream = deflateRawSync(Buffer.concat([all, all]), { level: 9 });
    expect(Buffer.compare(inflate(new Inflater(), stream).output, Buffer.concat([all, all]))).toBe(0);
  });
});

describe('streams that zlib takes or refuses for a reason', () => {
  const end = { 256: 1 };
  test.each<[string, Uint8Array, 'taken' | 'refused']>([
    ['reserved_block_type', new BitWriter().put(1, 1).put(3, 2).put(0, 40).bytes(), 'refused'],
    ['stored_empty', Uint8Array.of(1, 0, 0, 0xff, 0xff), 'taken'],
    ['stored_complement_wrong', Uint8Array.of(1, 0, 0, 0xff, 0xfe), 'refused'],
    ['stored_cut', Uint8Array.of(1, 2, 0, 0xfd, 0xff, 7), 'refused'],
    ['fixed_empty', Uint8Array.of(3, 0), 'taken'],
    ['fixed_cut', Uint8Array.of(3), 'refused'],
    ['nothing', new Uint8Array(0), 'refused'],
    ['fixed_length_286', new BitWriter().put(3, 3).code('11000110').put(0, 64).bytes(), 'refused'],
    [
      'fixed_distance_30',
      new BitWriter().put(3, 3).code('00110000').code('0000001').code('11110').put(0, 64).bytes(),
      'refused',
    ],
    ['match_before_output', new BitWriter().put(3, 3).code('0000001').code('00000').code('0000000').bytes(), 'refused'],
    [
      'match_at_first_byte',
      new BitWriter().put(3, 3).code('00110000').code('0000001').code('00000').code('0000000').bytes(),
      'taken',
    ],
    [
      'match_one_too_far',
      new BitWriter().put(3, 3).code('00110000').code('0000001').code('00001').code('0000000').bytes(),
      'refused',
    ],
    ['end_of_block_alone', new BitWriter().dynamic(lengths(257, end), [0]).code('0').bytes(), 'taken'],
    [
      'end_of_block_alone_other_bit',
      new BitWriter().dynamic(lengths(257, end), [0]).code('1').put(0, 32).bytes(),
      'refused',
    ],
    [
      'end_of_block_alone_of_two_bits',
      new BitWriter()
        .dynamic(lengths(257, { 256: 2 }), [0])
        .code('00')
        .bytes(),
      'refused',
    ],
    [
      'no_end_of_block',
      new BitWriter()
        .dynamic(lengths(257, { 65: 1, 66: 1 }), [0])
        .put(0, 64)
        .bytes(),
      'refused',
    ],
    [
      'literals_incomplete',
      new BitWriter()
        .dynamic(lengths(257, { 65: 2, 256: 1 }), [0])
        .code('0')
        .bytes(),
      'refused',
    ],
    [
      'literals_over_subscribed',
      new BitWriter()
        .dynamic(lengths(257, { 65: 1, 66: 1, 256: 1 }), [0])
        .code('0')
        .bytes(),
      'refused',
    ],
    [
      'no_distances_unused',
      new BitWriter()
        .dynamic(lengths(258, { 65: 1, 256: 2, 257: 2 }), [0])
        .code('0')
        .code('10')
        .bytes(),
      'taken',
    ],
    [
      'no_distances_used',
      new BitWriter()
        .dynamic(lengths(258, { 65: 1, 256: 2, 257: 2 }), [0])
        .code('0')
        .code('11')
        .code('0')
        .code('10')
        .put(0, 32)
        .bytes(),
      'refused',
    ],
    [
      'one_distance',
      new BitWriter()
        .dynamic(lengths(258, { 65: 1, 256: 2, 257: 2 }), [1])
        .code('0')
        .code('11')
        .code('0')
        .code('10')
        .bytes(),
      'taken',
    ],
    [
      'one_distance_other_bit',
      new BitWriter()
        .dynamic(lengths(258, { 65: 1, 256: 2, 257: 2 }), [1])
        .code('0')
        .code('11')
        .code('1')
        .code('10')
        .put(0, 32)
        .bytes(),
      'refused',
    ],
    [
      'one_distance_of_two_bits',
      new BitWriter()
        .dynamic(lengths(258, { 65: 1, 256: 2, 257: 2 }), [2])
        .code('0')
        .code('10')
        .bytes(),
      'refused',
    ],
    [
      'distances_over_subscribed',
      new BitWriter()
        .dynamic(lengths(257, { 65: 1, 256: 1 }), [1, 1, 1])
        .code('1')
        .bytes(),
      'refused',
    ],
    [
      'length_symbols_286',
      new BitWriter()
        .dynamic(lengths(286, { 65: 1, 256: 1 }), [0])
        .code('0')
        .code('1')
        .bytes(),
      'taken',
    ],
    [
      'length_symbols_287',
      new BitWriter()
        .dynamic(lengths(287, { 65: 1, 256: 1 }), [0])
        .code('0')
        .code('1')
        .bytes(),
      'refused',
    ],
    [
      'distance_symbols_30',
      new BitWriter()
        .dynamic(lengths(257, { 65: 1, 256: 1 }), lengths(30, {}))
        .code('1')
        .bytes(),
      'taken',
    ],
    [
      'distance_symbols_31',
      new BitWriter()
        .dynamic(lengths(257, { 65: 1, 256: 1 }), lengths(31, {}))
        .code('1')
        .bytes(),
      'refused',
    ],
    ['precode_empty', new BitWriter().put(5, 3).put(0, 14).put(0, 12).put(0, 600).bytes(), 'refused'],
    ['precode_incomplete', new BitWriter().put(5, 3).put(0, 14).put(1, 12).put(0, 600).bytes(), 'refused'],
    [
      'precode_over_subscribed',
      new BitWriter().put(5, 3).put(0, 14).put(0b001001001001, 12).put(0, 600).bytes(),
      'refused',
    ],
    ['repeat_of_nothing', new BitWriter().put(5, 3).put(0, 14).put(0b001001, 12).put(0, 600).bytes(), 'refused'],
    [
      'repeat_past_the_last',
      new BitWriter()
        .put(5, 3)
        .put(0, 14)
        .put(0b001001000000, 12)
        .put(0xffff_ffff, 32)
        .put(0xffff_ffff, 32)
        .put(0, 600)
        .bytes(),
      'refused',
    ],
    ['repeat_up_to_the_last', new BitWriter().repeatedDistances(3).bytes(), 'taken'],
    ['repeat_one_past_the_last', new BitWriter().repeatedDistances(2).bytes(), 'refused'],
  ])('%s', (_, stream, expected) => {
    const judged = zlibOutcome(stream);
    expect(judged === 'refused' ? 'refused' : 'taken').toBe(expected);
    expect(outcome(new Inflater(), stream)).toEqual(judged);
    expect(outcome(new InflaterTwin(), stream)).toEqual(judged);
  });

  test('a match of 32768 reaches the window’s first byte, and no stream may reach one before it', () => {
    const noise = sampleContent(WINDOW_BYTES, 21, 1);
    for (const [before, expected] of [
      [WINDOW_BYTES, 'taken'],
      [WINDOW_BYTES - 1, 'refused'],
    ] as const) {
      const match = new BitWriter().put(3, 3).code('0000001').code('11101').put(0x1fff, 13).code('0000000').bytes();
      const size = Buffer.from([0, before & 255, before >> 8, ~before & 255, (~before >> 8) & 255]);
      const stream = Buffer.concat([size, noise.subarray(0, before), match]);
      const judged = zlibOutcome(stream);
      expect(judged === 'refused' ? 'refused' : 'taken').toBe(expected);
      expect(outcome(new Inflater(), stream)).toEqual(judged);
      expect(outcome(new InflaterTwin(), stream)).toEqual(judged);
    }
  });
});

describe('fuzz: taken and refused as by zlib, with the same output', () => {
  test('random bytes', () => {
    const machines = { fast: 0, taken: 0 };
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.constantFrom(1, 7, 300), (bytes, chunk) => {
        const judged = zlibOutcome(bytes);
        expect(outcome(new Inflater(), bytes, chunk)).toEqual(judged);
        expect(outcome(new InflaterTwin(), bytes)).toEqual(judged);
        machines.fast++;
        if (judged !== 'refused') machines.taken++;
      }),
      { numRuns: 1500 },
    );
    expect(machines.fast).toBe(1500);
  });

  test('damaged headers of dynamic blocks', () => {
    const seeds = Array.from({ length: 20 }, (_, i) => deflateRawSync(sampleContent(400 + i * 57, 40 + i, 60)));
    fc.assert(
      fc.property(fc.constantFrom(...seeds), fc.array(fc.nat(700), { minLength: 1, maxLength: 3 }), (seed, flips) => {
        const stream = Buffer.from(seed);
        for (const bit of flips) stream[(bit >> 3) % stream.length]! ^= 1 << (bit & 7);
        const judged = zlibOutcome(stream);
        expect(outcome(new Inflater(), stream)).toEqual(judged);
        expect(outcome(new InflaterTwin(), stream)).toEqual(judged);
      }),
      { numRuns: 1500 },
    );
  });
});

describe('a ring', () => {
  // Phrases that reach back as far as matches go, at odd places: they cross the ends of pieces and of the ring.
  const random = seededRandom(11);
  const parts: Uint8Array[] = [content];
  for (let size = content.length; size < 9_000_000; size += parts.at(-1)!.length) {
    const from = random() % (content.length - 40_000);
    parts.push(content.subarray(from, from + 1 + (random() % 40_000)));
  }
  const plain = Buffer.concat(parts);
  const stream = deflateRawSync(plain, { level: 6 });

  test.each([2, 3, 8])('of %i pieces: what is read late is whole, and windows are what was before', (pieces) => {
    const memory = makeInflateMemory(pieces, stream.length);
    const held = new Map<number, { readonly at: number; readonly view: Uint8Array }[]>();
    const read = Buffer.alloc(plain.length);
    // A reader that lets go of a piece only when it is wanted: until then nothing of it may change.
    const waitUntilFree = (piece: number): void => {
      for (const { at, view } of held.get(piece) ?? []) read.set(view, at);
      held.delete(piece);
    };
    const machine = new Inflater({ memory, pieces, waitUntilFree });
    const input = new Uint8Array(memory.buffer, inflateRoom(pieces), stream.length);
    input.set(stream);
    let [from, emitted, windows] = [0, 0, 0];
    machine.begin(true);
    for (let stop = machine.run(false); ; stop = machine.run(from === stream.length)) {
      if (stop === 'input') {
        from += machine.write(input, from);
      } else if (stop === 'boundary') {
        const at = machine.outputOffset;
        if (windows++ % 5 !== 0 || at < WINDOW_BYTES) continue;
        expect(Buffer.compare(machine.window(at), plain.subarray(at - WINDOW_BYTES, at))).toBe(0);
      } else {
        const view = machine.output(emitted);
        const piece = pieceAt(view.byteOffset);
        held.set(piece, [...(held.get(piece) ?? []), { at: emitted, view }]);
        // Aligned in the output is aligned in memory.
        expect(view.byteOffset % 8).toBe(emitted % 8);
        emitted = machine.outputOffset;
        if (stop === 'end') break;
        machine.release();
      }
    }
    for (let piece = 0; piece < pieces; piece++) waitUntilFree(piece);
    expect(windows).toBeGreaterThan(50);
    expect(emitted).toBe(plain.length);
    expect(Buffer.compare(read, plain)).toBe(0);
  });
});
