/** The agenda of a discrete-event simulation: a binary heap of events by time, and by age where times are equal. */

/** Events with a payload of type `T`; the same insertions always come out in the same order. */
export class EventQueue<T> {
  readonly #heap: number[] = [];
  readonly #free: number[] = [];
  #times = new Float64Array(1024);
  #ages = new Float64Array(1024);
  readonly #payloads: (T | undefined)[] = [];
  #age = 0;
  #time = 0;

  /** Events that are waiting. */
  get size(): number {
    return this.#heap.length;
  }

  /** Adds an event at `time`. */
  add(time: number, payload: T): void {
    const slot = this.#free.pop() ?? this.#payloads.length;
    if (slot === this.#times.length) {
      this.#times = grown(this.#times);
      this.#ages = grown(this.#ages);
    }
    this.#times[slot] = time;
    this.#ages[slot] = this.#age++;
    this.#payloads[slot] = payload;
    this.#rise(slot);
  }

  /** Time of the event that was taken last. */
  get time(): number {
    return this.#time;
  }

  /** Takes the earliest event; undefined when the queue is empty. */
  take(): T | undefined {
    const [first] = this.#heap;
    if (first === undefined) return undefined;
    const last = this.#heap.pop()!;
    if (this.#heap.length > 0) this.#sink(last);
    const payload = this.#payloads[first] as T;
    this.#payloads[first] = undefined;
    this.#free.push(first);
    this.#time = this.#times[first]!;
    return payload;
  }

  #before(left: number, right: number): boolean {
    const difference = this.#times[left]! - this.#times[right]!;
    return difference === 0 ? this.#ages[left]! < this.#ages[right]! : difference < 0;
  }

  /** Puts a slot at the end of the heap and moves it up. */
  #rise(slot: number): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(slot);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(slot, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = slot;
  }

  /** Puts a slot at the top of the heap and moves it down. */
  #sink(slot: number): void {
    const heap = this.#heap;
    const length = heap.length;
    let at = 0;
    for (let child = 1; child < length; child = 2 * at + 1) {
      if (child + 1 < length && this.#before(heap[child + 1]!, heap[child]!)) child++;
      if (!this.#before(heap[child]!, slot)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = slot;
  }
}

function grown(array: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(array.length * 2);
  larger.set(array);
  return larger;
}
