import { inflateRawSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { Inflater, inflateRoom, makeInflateMemory } from './inflate.ts';
import { type InflateMachine, OUTPUT_BYTES, WINDOW_BYTES } from './inflate-machine.ts';
import { everyMatch, lateMatch, longestCodes, matchesOverBoundary } from './testing/edge-streams.ts';
import { InflaterTwin } from './twins/inflate.ts';

/** The output of a raw deflate stream, written in chunks; and what was logged of the window before the last boundary. */
function inflate(machine: InflateMachine, stream: Uint8Array, chunk = stream.length) {
  const pieces: Buffer[] = [];
  let [from, emitted] = [0, 0];
  machine.begin(true);
  for (;;) {
    const stop = machine.run(from >= stream.length);
    if (stop === 'input') {
      from += machine.write(stream.subarray(0, Math.min(stream.length, from + chunk)), from);
    } else if (stop === 'boundary') {
      machine.watch(0);
    } else {
      pieces.push(Buffer.from(machine.output(emitted)));
      emitted = machine.outputOffset;
      if (stop === 'end') break;
      machine.release();
    }
  }
  const references = Buffer.from(machine.references(0)).toString('hex');
  return { output: Buffer.concat(pieces), references, consumed: machine.inputOffset };
}

function ringOfTwo(): Inflater {
  return new Inflater({ memory: makeInflateMemory(2, 0), pieces: 2, waitUntilFree: () => undefined });
}

const upTo = (last: number): number[] => Array.from({ length: last }, (_, i) => i + 1);

describe('matches', () => {
  test('distances 1 to 16, lengths 3 to 258, at every alignment', () => {
    for (let before = 32; before < 48; before++) {
      const stream = everyMatch(before, upTo(16), 1);
      expect(Buffer.compare(inflate(new Inflater(), stream).output, inflateRawSync(stream))).toBe(0);
    }
  });

  test('distances about the width of a copy and at the edge of the window', () => {
    const distances = [...upTo(80).slice(16), ...upTo(40).map((i) => WINDOW_BYTES + 1 - i)];
    const stream = everyMatch(WINDOW_BYTES, distances, 3);
    for (const machine of [new Inflater(), ringOfTwo()])
      expect(Buffer.compare(inflate(machine, stream).output, inflateRawSync(stream))).toBe(0);
  });

  test.each([1, 3, 15, 16, 17, 31, 32, 33, 300, WINDOW_BYTES])('of distance %i over the end of a piece', (distance) => {
    for (const left of [0, 1, 2, 15, 16, 17, 31, 32, 33, 255, 257, 258, 259])
      for (const machine of [new Inflater(), ringOfTwo()]) {
        const stream = lateMatch(OUTPUT_BYTES - left, 258, distance);
        expect(Buffer.compare(inflate(machine, stream).output, inflateRawSync(stream))).toBe(0);
      }
  });

  test('of the longest codes, after the longest literal that one look finds', () => {
    const stream = longestCodes();
    const plain = inflateRawSync(stream);
    expect(plain.length).toBeGreaterThan(WINDOW_BYTES + 64 * 227);
    for (const chunk of [stream.length, 37])
      expect(Buffer.compare(inflate(new Inflater(), stream, chunk).output, plain)).toBe(0);
  });

  test('that read a watched window, whole and past its end, are logged as the plain twin logs them', () => {
    const stream = matchesOverBoundary();
    const plain = inflate(new InflaterTwin(), stream);
    expect(plain.references).toMatch(/[1-9a-f]/);
    for (const chunk of [stream.length, 1000, 33]) {
      const { output, references } = inflate(new Inflater(), stream, chunk);
      expect(Buffer.compare(output, plain.output)).toBe(0);
      expect(references).toBe(plain.references);
    }
  });
});

describe('the end of input', () => {
  const stream = everyMatch(40, [1, 2, 7, 15, 16, 17, 33], 17);
  const plain = inflateRawSync(stream);

  test('in chunks of any size about the width of a read', () => {
    for (let chunk = 1; chunk <= 72; chunk++)
      expect(Buffer.compare(inflate(new Inflater(), stream, chunk).output, plain)).toBe(0);
  });

  test('is where the stream ends, whatever comes next', () => {
    for (const next of [0, 0xff]) {
      const longer = Buffer.concat([stream, Buffer.alloc(100, next)]);
      const { output, consumed } = inflate(new Inflater(), longer);
      expect(Buffer.compare(output, plain)).toBe(0);
      expect(consumed).toBe(stream.length);
    }
  });

  test('breaks a stream off there, and nowhere after it', () => {
    for (let length = 0; length < stream.length; length += length < 300 ? 1 : 7)
      expect(() => inflate(new Inflater(), stream.subarray(0, length))).toThrow(
        expect.objectContaining({ code: 'gzip-invalid', where: { 'compressed byte': length } }),
      );
  });

  test('leaves the memory past the input’s padding and the output’s slack alone', () => {
    const memory = makeInflateMemory(2, 4096);
    const room = new Uint8Array(memory.buffer, inflateRoom(2), 4096).fill(0xa5);
    for (const left of [0, 1, 31]) {
      const machine = new Inflater({ memory, pieces: 2, waitUntilFree: () => undefined });
      inflate(machine, lateMatch(2 * OUTPUT_BYTES - left, 258, 1));
    }
    expect(room.every((byte) => byte === 0xa5)).toBe(true);
  });
});
