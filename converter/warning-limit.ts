/** Bounds the warnings of a conversion: an entry of a layer costs its author nothing, and a warning about it is kept and printed. */
import type { ConvertEvent } from './events.ts';

/** Warnings of one kind that are reported one by one. */
const WARNINGS_OF_KIND = 100;
/** Warnings of all kinds that are reported one by one. */
const WARNINGS = 1000;

type WarningEvent = Extract<ConvertEvent, { readonly type: 'warning' }>;

/** Passes warnings on until there are too many, and then counts them. */
export class WarningLimit {
  readonly #emit: (event: WarningEvent) => void;
  /** Counts what came of each kind; a kind is what a message says before its first colon. */
  readonly #kinds = new Map<string, number>();
  #passed = 0;
  #count = 0;

  /** `emit` gets the warnings that are reported, and those that {@link end} adds. */
  constructor(emit: (event: WarningEvent) => void) {
    this.#emit = emit;
  }

  /** Warnings that came, reported or only counted. */
  get count(): number {
    return this.#count;
  }

  /** Takes a warning. */
  add(event: WarningEvent): void {
    this.#count++;
    const kind = event.message.split(':', 1)[0]!;
    const before = this.#kinds.get(kind);
    if (before === undefined && this.#kinds.size >= WARNINGS) return;
    this.#kinds.set(kind, (before ?? 0) + 1);
    if ((before ?? 0) >= WARNINGS_OF_KIND || this.#passed >= WARNINGS) return;
    this.#passed++;
    this.#emit(event);
  }

  /** Says of each kind how many warnings were only counted; to be called once, when no warning follows. */
  end(): void {
    let unnamed = this.#count - this.#passed;
    for (const [kind, count] of this.#kinds) {
      const more = count - WARNINGS_OF_KIND;
      if (more <= 0) continue;
      unnamed -= more;
      this.#emit({ type: 'warning', message: `${more} more warnings are not listed here: ${kind}` });
    }
    if (unnamed > 0)
      this.#emit({ type: 'warning', message: `${unnamed} more warnings of several kinds are not listed here` });
  }
}
