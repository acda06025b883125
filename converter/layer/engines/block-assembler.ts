/** Assembles runs of file data into whole units of the device. */

/** Takes `bytes` for `deviceOffset`, to be followed by `zeros` zero bytes: together whole units. A view, valid during the call. */
export type UnitSink = (deviceOffset: number, bytes: Uint8Array, zeros: number) => void;

/**
 * Collects bytes at ascending offsets of a device and emits whole, aligned units; bytes of a unit that no run covers are
 * zero. Whole units within a piece are emitted as views of it, without a copy, and so is the end of a file.
 */
export class BlockAssembler {
  readonly #unit: number;
  readonly #emit: UnitSink;
  readonly #buffer: Uint8Array;
  /** Device offset of the unit in the buffer; -1 when it holds none. */
  #start = -1;
  #at = 0;
  /** Bytes up to where nothing more comes for their unit; 0: not known. */
  #toEnd = 0;

  /** `unit` in bytes. */
  constructor(unit: number, emit: UnitSink) {
    this.#unit = unit;
    this.#emit = emit;
    this.#buffer = new Uint8Array(unit);
  }

  /** The next bytes belong at `deviceOffset`. After `toEnd` bytes nothing more comes for their unit; 0: not known. */
  seek(deviceOffset: number, toEnd = 0): void {
    if (this.#start >= 0 && (deviceOffset < this.#start || deviceOffset >= this.#start + this.#unit)) this.flush();
    this.#at = deviceOffset;
    this.#toEnd = toEnd;
  }

  /** Takes the next bytes. */
  write(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length; ) {
      const within = this.#at % this.#unit;
      const left = bytes.length - from;
      if (this.#start < 0 && within === 0 && (left >= this.#unit || left === this.#toEnd)) {
        const rest = left % this.#unit;
        const isEnd = left === this.#toEnd;
        const count = isEnd ? left : left - rest;
        const zeros = isEnd && rest > 0 ? this.#unit - rest : 0;
        this.#emit(this.#at, count === bytes.length ? bytes : bytes.subarray(from, from + count), zeros);
        this.#advance(count);
        from += count;
        continue;
      }
      if (this.#start < 0) {
        this.#buffer.fill(0);
        this.#start = this.#at - within;
      }
      const count = Math.min(this.#unit - within, left);
      this.#buffer.set(count === bytes.length ? bytes : bytes.subarray(from, from + count), within);
      this.#advance(count);
      from += count;
      if (this.#at === this.#start + this.#unit) this.flush();
    }
  }

  /** Emits the unit that is not full yet. */
  flush(): void {
    if (this.#start < 0) return;
    this.#emit(this.#start, this.#buffer, 0);
    this.#start = -1;
  }

  #advance(count: number): void {
    this.#at += count;
    if (this.#toEnd > 0) this.#toEnd -= count;
  }
}
