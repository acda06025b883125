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
