/** The foreign programs that a conversion is measured beside: each does one of its parts, in C, and nothing else. */
import { findTool, run } from '../tests/support/tools.ts';
import { measureCommand, together, type Usage } from './child.ts';

/** A program that reads standard input, as Debian packages it. */
export interface BenchTool {
  /** Name in the tables. */
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  /** Debian's package. */
  readonly package: string;
  /** Its input: the compressed layers, one after another, or their uncompressed tars. */
  readonly input: 'gzip' | 'zstd' | 'tar';
}

/** The programs in the order of the tables. */
export const TOOLS: readonly BenchTool[] = [
  { name: 'gzip -dc', program: 'gzip', args: ['-dc'], package: 'gzip', input: 'gzip' },
  { name: 'igzip -dc', program: 'igzip', args: ['-dc'], package: 'isal', input: 'gzip' },
  { name: 'zstd -dc', program: 'zstd', args: ['-dc'], package: 'zstd', input: 'zstd' },
  { name: 'lz4 -1 -B4 of the tar', program: 'lz4', args: ['-1', '-B4', '-c'], package: 'lz4', input: 'tar' },
  { name: 'sha256sum of the tar', program: 'sha256sum', args: [], package: 'coreutils', input: 'tar' },
];

/** Runs a tool over each file, one process after another; undefined where it is not installed. */
export async function runTool(tool: BenchTool, files: readonly string[]): Promise<Usage | undefined> {
  const program = findTool(tool.program);
  if (program === undefined) return undefined;
  const usages: Usage[] = [];
  for (const input of files) usages.push((await measureCommand({ program, args: tool.args, input })).usage);
  return together(usages);
}

/** The versions of the tools that are there, for the report. */
export async function toolVersions(): Promise<string> {
  const versions = TOOLS.map(async ({ program, package: name }) => {
    if (findTool(program) === undefined) return `${program} not installed (Debian: ${name})`;
    const { stdout } = await run(program, ['--version'], { accept: 'any' });
    const version = /\d+\.\d+(\.\d+)?/.exec(stdout.toString('utf8'))?.[0] ?? 'of unknown version';
    return `${program} ${version}`;
  });
  return (await Promise.all(versions)).join(', ');
}
