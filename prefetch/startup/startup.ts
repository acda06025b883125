/**
 * Finds the files that a container reads first, from the image alone: the program of its config, the interpreter and
 * libraries that it is loaded with, its script, and the startup files of the script's interpreter.
 */
import type { ImageConfig } from '../../oci/config.ts';
import type { ImageFiles } from '../../reader/files.ts';
import { commandOf, DEFAULT_PATH, type ImageCommand } from './command.ts';
import { LibraryFinder, readPart } from './libraries.ts';
import { isPython, moduleFiles, pythonFiles } from './python.ts';

/** Files that belong together, and why. */
export interface StartupGroup {
  /** Their description, for a comment in the list. */
  readonly why: string;
  /** As they are opened, Latin-1; symlinks are not resolved. */
  readonly paths: readonly string[];
}

/** The files found, and notes about missing ones. */
export interface StartupFiles {
  readonly groups: readonly StartupGroup[];
  readonly notes: readonly string[];
}

/** Programs that start each other, at most. */
const MAX_DEPTH = 6;
/** Bytes of a `#!` line that the kernel reads. */
const SCRIPT_HEAD = 256;
const SHELLS = /\/(ba|da|a|k|z)?sh$|\/busybox$/;

/** Finds the files of the image's command. */
export async function findStartupFiles(files: ImageFiles, config: ImageConfig): Promise<StartupFiles> {
  const command = commandOf(config);
  const finder = new StartupFinder(files, command);
  if (command.namesUser) await finder.add('users and groups by name', ['/etc/passwd', '/etc/group']);
  if (command.argv.length === 0) finder.notes.push('the image has neither entrypoint nor command');
  else await finder.follow(command.argv, 0);
  return finder;
}

class StartupFinder implements StartupFiles {
  readonly groups: StartupGroup[] = [];
  readonly notes: string[] = [];
  readonly #files: ImageFiles;
  readonly #command: ImageCommand;
  readonly #libraries: LibraryFinder;
  readonly #followed = new Set<string>();

  constructor(files: ImageFiles, command: ImageCommand) {
    this.#files = files;
    this.#command = command;
    this.#libraries = new LibraryFinder(files, command.environment.get('LD_LIBRARY_PATH'));
  }

  async add(why: string, paths: readonly string[]): Promise<void> {
    const found: string[] = [];
    for (const path of paths) if ((await this.#files.find(path))?.type === 'file') found.push(path);
    if (found.length > 0) this.groups.push({ why, paths: found });
  }

  /** A program and its arguments. */
  async follow(argv: readonly string[], depth: number): Promise<void> {
    const [name = '', ...args] = argv;
    if (name === '' || depth > MAX_DEPTH) return;
    const path = await this.#program(name);
    if (path === undefined) {
      this.notes.push(`the program ${name} is not in the image`);
      return;
    }
    await this.#start(path, depth);
    await this.#arguments(path, args, depth);
  }

  async #start(path: string, depth: number): Promise<void> {
    const real = (await this.#files.find(path))!.path;
    if (this.#followed.has(real)) return;
    this.#followed.add(real);
    const loaded = await this.#libraries.load(path);
    if (loaded === undefined) {
      await this.add(`script ${path}`, [path]);
      const interpreter = await this.#interpreterOf(real);
      if (interpreter !== undefined) await this.follow(interpreter, depth + 1);
      return;
    }
    await this.add(`program ${path} and its libraries`, loaded.paths);
    for (const name of loaded.missing) this.notes.push(`${path} needs ${name}, which is not in the image`);
    if (isPython(real) || isPython(path)) await this.add('start of Python', await pythonFiles(this.#files, path, real));
  }

  /** Files among the arguments, and programs that are started by way of this one. */
  async #arguments(path: string, args: readonly string[], depth: number): Promise<void> {
    const real = (await this.#files.find(path))!.path;
    if (SHELLS.test(path) && args[0] === '-c') return this.follow(wordsOf(args[1] ?? ''), depth + 1);
    if (path.endsWith('/env')) return this.follow(envProgram(args), depth + 1);
    const module = args.indexOf('-m');
    if (isPython(real) && module >= 0 && args[module + 1] !== undefined) {
      const found = await moduleFiles(this.#files, real, args[module + 1]!, [this.#command.directory]);
      await this.add(`module ${args[module + 1]}`, found);
    }
    for (const [i, argument] of args.entries()) {
      if (argument.startsWith('-')) continue;
      const file = await this.#files.find(this.#absolute(argument));
      if (file?.type === 'file') await this.add(`argument ${argument}`, [this.#absolute(argument)]);
      // tini, dumb-init and entrypoint scripts start the command that follows them.
      const isFirst = args.slice(0, i).every((earlier) => earlier.startsWith('-'));
      if (!isFirst || isPython(real)) continue;
      if ((await this.#program(argument)) !== undefined) return this.follow(args.slice(i), depth + 1);
    }
  }

  /** The words of a script's `#!` line. */
  async #interpreterOf(real: string): Promise<string[] | undefined> {
    const head = await readPart(this.#files, await this.#files.stat(real), 0, SCRIPT_HEAD);
    const match = /^#![ \t]*(\S+)(?:[ \t]+(.*\S))?[ \t]*(?:\n|$)/.exec(Buffer.from(head).toString('latin1'));
    if (match === null) return undefined;
    return [match[1]!, ...(match[2] === undefined ? [] : [match[2]])];
  }

  /** Where a program is: by its path, or looked for as execvp does. */
  async #program(name: string): Promise<string | undefined> {
    const directories = (this.#command.environment.get('PATH') ?? DEFAULT_PATH).split(':');
    const candidates = name.includes('/')
      ? [this.#absolute(name)]
      : directories.map((directory) => `${this.#absolute(directory)}/${name}`);
    for (const path of candidates) {
      const stat = await this.#files.find(path);
      if (stat?.type === 'file' && (stat.mode & 0o111) !== 0) return path;
    }
    return undefined;
  }

  #absolute(path: string): string {
    return path.startsWith('/') ? path : `${this.#command.directory.replace(/\/+$/, '')}/${path}`;
  }
}

/** The first command of a shell's text, divided at blanks: `exec app --flag` is `app --flag`. */
function wordsOf(text: string): string[] {
  const words = text.trim().split(/\s+/);
  const first = words.findIndex((word) => word !== 'exec' && !/^\w+=/.test(word));
  return first < 0 ? [] : words.slice(first).map((word) => word.replace(/^["']|["';]+$/g, ''));
}

/** The command that `env` starts, after its options and variable settings. */
function envProgram(args: readonly string[]): string[] {
  const words = args.flatMap((argument) => argument.split(/\s+/));
  const first = words.findIndex((word) => !word.startsWith('-') && !word.includes('='));
  return first < 0 ? [] : words.slice(first);
}
