/**
 * Temporary files and folders of this process that exist now. Whoever has to end the process without waiting for its
 * event loop (cli/interrupt.ts) removes them.
 */

/** Hears of a path that came to be, or is gone. */
type Listener = (path: string, exists: boolean) => void;

const paths = new Set<string>();
let listener: Listener | undefined;

/** Notes a temporary file or folder, before it is made. */
export function noteTemporary(path: string): void {
  paths.add(path);
  listener?.(path, true);
}

/** Forgets one that was removed or put in place. */
export function forgetTemporary(path: string): void {
  if (paths.delete(path)) listener?.(path, false);
}

/** Passes on what is noted, now and from now on. Undefined ends it. */
export function watchTemporaries(next: Listener | undefined): void {
  listener = next;
  for (const path of paths) listener?.(path, true);
}
