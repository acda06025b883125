/** Assembles runs of file data into whole units of the device. */

/**
 * Collects bytes at ascending offsets of a device and emits whole, aligned units; bytes of a unit that no run covers are
 * zero. Whole units within a piece are emitted as views of it, without a copy.
 */
export class BlockAssembler {
  readonly #unit: number;
  readonly #emit: (deviceOffset: number, bytes: Uint8Array) => void;
  readonly #buffer: Uint8Array;
  /** Device offset of the unit in the buffer; -1 when it holds none. */
  #start = -1;
  #at = 0;

  /** `unit` in bytes; `emit` must use the bytes during the call. */
  constructor(unit: number, emit: (deviceOffset: number, bytes: Uint8Array) => void) {
    this.#unit = unit;
    this.#emit = emit;
    this.#buffer = new Uint8Array(unit);
  }

  /** The next bytes belong at `deviceOffset`. */
  seek(deviceOffset: number): void {
    if (this.#start >= 0 && (deviceOffset < this.#start || deviceOffset >= this.#start + this.#unit)) this.flush();
    this.#at = deviceOffset;
  }

  /** Takes the next bytes. */
  write(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length; ) {
      const within = this.#at % this.#unit;
      const left = bytes.length - from;
      if (this.#start < 0 && within === 0 && left >= this.#unit) {
        const whole = left - (left % this.#unit);
        this.#emit(this.#at, whole === bytes.length ? bytes : bytes.subarray(from, from + whole));
        this.#at += whole;
        from += whole;
        continue;
      }
      if (this.#start < 0) {
        this.#buffer.fill(0);
        this.#start = this.#at - within;
      }
      const count = Math.min(this.#unit - within, left);
      this.#buffer.set(count === bytes.length ? bytes : bytes.subarray(from, from + count), within);
      this.#at += count;
      from += count;
      if (this.#at === this.#start + this.#unit) this.flush();
    }
  }

  /** Emits the unit that is not full yet. */
  flush(): void {
    if (this.#start < 0) return;
    this.#emit(this.#start, this.#buffer);
    this.#start = -1;
  }
}
