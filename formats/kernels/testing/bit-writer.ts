/** Deflate streams written by hand, for the cases that no compressor makes. */

/** A deflate stream written bit by bit. */
export class BitWriter {
  readonly #bits: number[] = [];

  /** A number, lowest bit first. */
  put(value: number, count: number): this {
    for (let i = 0; i < count; i++) this.#bits.push((value >>> i) & 1);
    return this;
  }

  /** A Huffman code, given as its binary digits. */
  code(digits: string): this {
    for (const digit of digits) this.#bits.push(Number(digit));
    return this;
  }

  /** A literal in the fixed code (RFC 1951 §3.2.6). */
  literal(byte: number): this {
    return byte < 144 ? this.#fixed(0x30 + byte, 8) : this.#fixed(0x190 + byte - 144, 9);
  }

  /** A match in the fixed code: 3 to 258 bytes from 1 to 32768 bytes before. */
  match(length: number, distance: number): this {
    const long = length === 258 ? { symbol: 28, extra: 0, rest: 0 } : scaled(length - 3, 2);
    const symbol = 257 + long.symbol;
    if (symbol < 280) this.#fixed(symbol - 256, 7);
    else this.#fixed(0xc0 + symbol - 280, 8);
    const far = scaled(distance - 1, 1);
    return this.put(long.rest, long.extra).#fixed(far.symbol, 5).put(far.rest, far.extra);
  }

  /** The end of a block in the fixed code. */
  end(): this {
    return this.#fixed(0, 7);
  }

  #fixed(code: number, bits: number): this {
    return this.code(code.toString(2).padStart(bits, '0'));
  }

  /** The start of a final dynamic block: its code lengths, each coded in four bits by a precode of sixteen symbols. */
  dynamic(literals: number[], distances: number[]): this {
    this.put(1, 1)
      .put(2, 2)
      .put(literals.length - 257, 5)
      .put(distances.length - 1, 5)
      .put(15, 4);
    for (const symbol of [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15])
      this.put(symbol < 16 ? 4 : 0, 3);
    for (const length of [...literals, ...distances]) this.code(length.toString(2).padStart(4, '0'));
    return this;
  }

  /** A final dynamic block of 257 literal lengths, only the last not zero, and then three distance lengths of zero in one repeat. */
  repeatedDistances(distances: number): this {
    this.put(1, 1)
      .put(2, 2)
      .put(0, 5)
      .put(distances - 1, 5)
      .put(14, 4);
    for (const symbol of [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1])
      this.put(symbol === 18 ? 1 : symbol === 1 || symbol === 17 ? 2 : 0, 3);
    return this.code('0').put(127, 7).code('0').put(107, 7).code('10').code('11').put(0, 3).code('0').put(0, 32);
  }

  /** The stream, its last byte filled up with zeros. */
  bytes(): Uint8Array {
    const bytes = new Uint8Array(Math.ceil(this.#bits.length / 8));
    this.#bits.forEach((bit, i) => {
      bytes[i >> 3]! |= bit << (i & 7);
    });
    return bytes;
  }
}

/** The symbol of a length or distance less its least (RFC 1951 §3.2.5): 2^`bits` symbols for each power of two; and its extra bits. */
function scaled(value: number, bits: number): { symbol: number; extra: number; rest: number } {
  const extra = Math.max(0, 31 - Math.clz32(value) - bits);
  return { symbol: (extra << bits) + (value >>> extra), extra, rest: value & ((1 << extra) - 1) };
}
