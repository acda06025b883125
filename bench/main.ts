/** `npm run bench`: measures everything, or what is asked for, and prints it. See README.md beside this file. */
import { access, mkdir, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { measureAgainst, prepareBuilds } from './against.ts';
import { CLI } from './convert.ts';
import { machine } from './machine.ts';
import { FOLDER_PREFIX } from './make-image.ts';
import type { BenchOptions, BenchSection } from './options.ts';
import { type SectionResult, writeResults } from './results.ts';
import { IMAGES, type Making, MODES } from './scenarios.ts';
import { writeSection } from './section.ts';
import { SECTIONS } from './sections.ts';
import { toolVersions } from './tools.ts';

const { values } = readOptions({
  options: {
    only: { type: 'string', multiple: true },
    skip: { type: 'string', multiple: true, default: [] },
    mode: { type: 'string', multiple: true },
    rounds: { type: 'string', default: '3' },
    scale: { type: 'string', default: '1' },
    dir: { type: 'string', default: join(tmpdir(), 'accel-bench') },
    against: { type: 'string' },
    json: { type: 'string' },
    write: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    prepare: { type: 'boolean', default: false },
    clean: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
} as const);

/** The options of the command line; a mistake ends the process with 2. */
function readOptions<T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config);
  } catch (error) {
    return refuse((error as Error).message);
  }
}

/** Ends the process with the reason on standard error. */
function refuse(message: string): never {
  process.stderr.write(`bench: ${message}\nbench/README.md explains the options; --list names the scenarios.\n`);
  process.exit(2);
}

/** Those of `all` that were asked for, all when nothing was. A name that is unknown ends the process. */
function pick<T extends { readonly name: string }>(all: readonly T[], names: readonly string[] | undefined): T[] {
  const unknown = names?.find((name) => all.every((one) => one.name !== name));
  if (unknown !== undefined) refuse(`no ${unknown}; there are: ${all.map((one) => one.name).join('; ')}`);
  return all.filter((one) => names?.includes(one.name) ?? true);
}

/** A number above zero. */
function positive(name: 'rounds' | 'scale'): number {
  const value = Number(values[name]);
  if (!(value > 0) || (name === 'rounds' && !Number.isInteger(value)))
    refuse(`--${name} ${values[name]}: expected a ${name === 'rounds' ? 'whole ' : ''}number above 0`);
  return value;
}

function log(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Removes what benchmarks left in the work directory, and nothing else. */
async function clean(): Promise<void> {
  const names = await readdir(values.dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const ours = names.filter((name) => name.startsWith(FOLDER_PREFIX));
  for (const name of ours) await rm(join(values.dir, name), { recursive: true });
  log(`removed ${ours.length} folders from ${values.dir}`);
}

async function prepare(sections: readonly BenchSection[], making: Making): Promise<void> {
  for (const section of sections) {
    const started = performance.now();
    await section.prepare?.(making);
    log(`${section.name}: images are ready after ${secondsSince(started)} s`);
  }
  log(await keptImages());
}

/** Reports the size of the images that the work directory keeps. */
async function keptImages(): Promise<string> {
  return `${((await sizeOf(values.dir)) / 1e9).toFixed(1)} GB of images are kept in ${values.dir}; --clean removes them`;
}

function secondsSince(started: number): string {
  return ((performance.now() - started) / 1000).toFixed(0);
}

async function sizeOf(directory: string): Promise<number> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => stat(join(entry.parentPath, entry.name)));
  return (await Promise.all(files)).reduce((sum, { size }) => sum + size, 0);
}

async function runSection(
  section: Pick<BenchSection, 'name' | 'run'>,
  options: BenchOptions,
  conditions: string,
): Promise<SectionResult> {
  const started = performance.now();
  const outcome = await section.run(options);
  if ('skipped' in outcome) log(`${section.name}: skipped, ${outcome.skipped}`);
  else log(`${section.name}: done in ${secondsSince(started)} s`);
  if (!('text' in outcome)) return { name: section.name, rows: [], verdicts: [] };
  const text = `${outcome.text}\n\n${conditions}`;
  process.stdout.write(`${text}\n\n`);
  if (options.write) await writeSection(section.name, text);
  return { name: section.name, rows: outcome.rows ?? [], verdicts: outcome.verdicts };
}

/** The sections to run, or with `--against` the images to convert by two builds: one layer, unless `--only` says otherwise. */
async function toRun(sections: readonly BenchSection[]): Promise<Pick<BenchSection, 'name' | 'run'>[]> {
  if (values.against === undefined) return [...sections];
  if (values.write) refuse('--write and --against: a comparison has no section in the page');
  const builds = await prepareBuilds(values.dir, values.against);
  log(`${values.against}: built ${builds.other.commit}`);
  return pick(IMAGES, values.only ?? ['one-layer']).map((scenario) => ({
    name: scenario.name,
    run: (options) => measureAgainst(scenario, builds, options),
  }));
}

async function main(): Promise<void> {
  if (values.help) {
    process.stdout.write(
      'npm run bench -- [OPTION…]: bench/README.md explains the options; --list names the scenarios.\n',
    );
    return;
  }
  const skipped = pick(SECTIONS, values.skip);
  const sections = pick(SECTIONS, values.only).filter((section) => !skipped.includes(section));
  const modes = pick(MODES, values.mode).map(({ name }) => name);
  const [rounds, scale] = [positive('rounds'), positive('scale')];
  if (values.list) {
    for (const { name, about } of sections) process.stdout.write(`${name.padEnd(16)}${about}\n`);
    return;
  }
  if (values.clean) return clean();
  await mkdir(values.dir, { recursive: true });
  if (values.prepare) return prepare(sections, { directory: values.dir, scale });
  await access(CLI);
  const options: BenchOptions = { directory: values.dir, scale, rounds, modes, write: values.write, log };
  const reduced = scale === 1 ? '' : ` **A trial at ${scale} of the full size: the figures say nothing.**`;
  const conditions = `Machine: ${machine()}.\nTools: ${await toolVersions()}.${reduced}`;
  const results: SectionResult[] = [];
  for (const section of await toRun(sections)) results.push(await runSection(section, options, conditions));
  log(await keptImages());
  if (values.json !== undefined) await writeResults(values.json, { rounds, scale, against: values.against }, results);
  const broken = results.flatMap(({ name, verdicts }) =>
    verdicts.filter(({ held }) => !held).map(({ text }) => `${name}: ${text}`),
  );
  for (const text of broken) log(`over the limit: ${text}`);
  if (values.check && broken.length > 0) process.exitCode = 1;
}

await main();
