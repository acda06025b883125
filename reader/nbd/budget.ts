/** Limits the number and the memory of concurrent requests of a connection. */

/** A gate for requests of different weight. */
export class Budget {
  readonly #capacity: number;
  readonly #maxTasks: number;
  readonly #waiting: { readonly weight: number; readonly enter: () => void }[] = [];
  #used = 0;
  #tasks = 0;

  /** At most `maxTasks` requests, and `capacity` of weight; a heavier one enters when it is alone. */
  constructor(maxTasks: number, capacity: number) {
    this.#maxTasks = maxTasks;
    this.#capacity = capacity;
  }

  /** Resolves when there is room, in the order of the calls; {@link Budget.leave} with the same weight afterwards. */
  async enter(weight: number): Promise<void> {
    if (this.#waiting.length === 0 && this.#hasRoom(weight)) this.#admit(weight);
    else await new Promise<void>((enter) => this.#waiting.push({ weight, enter }));
  }

  /** Gives back what {@link Budget.enter} took. */
  leave(weight: number): void {
    this.#used -= weight;
    this.#tasks--;
    for (let next = this.#waiting[0]; next !== undefined && this.#hasRoom(next.weight); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#admit(next.weight);
      next.enter();
    }
  }

  #hasRoom(weight: number): boolean {
    return this.#tasks < this.#maxTasks && (this.#tasks === 0 || this.#used + weight <= this.#capacity);
  }

  #admit(weight: number): void {
    this.#used += weight;
    this.#tasks++;
  }
}
