/** Paths that were seen elsewhere: in what strace or fatrace wrote, or one a line. */

/** The paths of a file of such lines. */
export interface SeenPaths {
  /** In the order of their first appearance, Latin-1, absolute. */
  readonly paths: readonly string[];
  /** Lines that say nothing of a file that was opened. */
  readonly others: number;
}

/** Calls of strace that open a file or start a program, with the argument that is the path. */
const CALLS: Readonly<Record<string, number>> = { open: 0, openat: 1, openat2: 1, execve: 0, execveat: 1, uselib: 0 };
/** `[pid 12] `, `12 `, and a time behind either. */
const PREFIX = /^(?:\[pid +(\d+)\] +|(\d+) +)?(?:\d[\d:.]* +)?/;
const ARGUMENT = /^(?:AT_FDCWD(?:<([^>]*)>)?|(\d+)(?:<([^>]*)>)?)/;
/** `cat(4242): RO /etc/passwd`, `cat(4242): O /etc/passwd`. */
const FATRACE = /^(?:\d[\d:.]* )?[^()]+\(\d+\)(?: \[[^\]]*\])?: [A-Z<>+]+ +(\/.*)$/;

/** Reads the lines of a file; relative paths are taken from `directory`. */
export function parseSeenPaths(bytes: Uint8Array, directory: string): SeenPaths {
  const parser = new SeenParser(directory);
  for (const line of Buffer.from(bytes).toString('latin1').split('\n')) parser.line(line.replace(/\r$/, ''));
  return { paths: [...parser.paths], others: parser.others };
}

class SeenParser {
  readonly paths = new Set<string>();
  others = 0;
  readonly #directory: string;
  /** Directory of each process, and its call that has not ended yet. */
  readonly #directories = new Map<string, string>();
  readonly #unfinished = new Map<string, string>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  line(text: string): void {
    if (text === '' || text.startsWith('#')) return;
    if (text.startsWith('/')) {
      this.paths.add(text.trimEnd());
      return;
    }
    const fatrace = FATRACE.exec(text)?.[1];
    const path = fatrace ?? this.#strace(text);
    if (path === undefined) this.others++;
    else this.paths.add(path);
  }

  #strace(text: string): string | undefined {
    const prefix = PREFIX.exec(text)!;
    const process = prefix[1] ?? prefix[2] ?? '';
    let call = text.slice(prefix[0].length);
    const cutOff = / *<unfinished \.\.\.>$/.exec(call);
    if (cutOff !== null) {
      this.#unfinished.set(process, call.slice(0, cutOff.index));
      return undefined;
    }
    const resumed = /^<\.\.\. \w+ resumed>/.exec(call);
    if (resumed !== null) {
      call = `${this.#unfinished.get(process) ?? ''}${call.slice(resumed[0].length)}`;
      this.#unfinished.delete(process);
    }
    return this.#call(process, call);
  }

  #call(process: string, call: string): string | undefined {
    const match = /^(\w+)\((.*)\) += (-?\d+)(?:<(\/[^>]*)>)?/s.exec(call);
    if (match === null || match[3]!.startsWith('-')) return undefined;
    const [, name = '', args = '', , opened] = match;
    const here = this.#directories.get(process) ?? this.#directory;
    if (name === 'chdir') {
      const to = quoted(args);
      if (to !== undefined) this.#directories.set(process, join(here, to));
      return undefined;
    }
    if (CALLS[name] === undefined) return undefined;
    // With -y strace itself says what was opened.
    if (opened !== undefined) return opened;
    if (CALLS[name] === 0) return absolute(here, quoted(args));
    const at = ARGUMENT.exec(args);
    if (at === null) return undefined;
    const path = quoted(args.slice(at[0].length).replace(/^, /, ''));
    // A directory by its number is unknown without -y.
    const base = at[1] ?? at[3] ?? (at[2] === undefined ? here : undefined);
    return base === undefined && path?.startsWith('/') !== true ? undefined : absolute(base ?? here, path);
  }
}

/** The text in the quotes at the start, with C's escapes undone; undefined when strace cut it short. */
function quoted(args: string): string | undefined {
  const match = /^"((?:[^"\\]|\\.)*)"(\.\.\.)?/s.exec(args);
  if (match === null || match[2] !== undefined) return undefined;
  return match[1]!.replace(/\\(x[\da-fA-F]{2}|[0-7]{1,3}|.)/gs, (_, code: string) => {
    if (code.startsWith('x')) return String.fromCharCode(Number.parseInt(code.slice(1), 16));
    if (/^[0-7]/.test(code)) return String.fromCharCode(Number.parseInt(code, 8) & 0xff);
    return { n: '\n', t: '\t', r: '\r', v: '\v', f: '\f' }[code] ?? code;
  });
}

function absolute(directory: string, path: string | undefined): string | undefined {
  return path === undefined || path === '' ? undefined : join(directory, path);
}

function join(directory: string, path: string): string {
  return path.startsWith('/') ? path : `${directory.replace(/\/+$/, '')}/${path}`;
}
