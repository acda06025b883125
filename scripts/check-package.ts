/**
 * The gate of the package, run from the project's root: packs it as a release would, lets publint and are-the-types-wrong
 * look at the tarball, and says how large it is. Exit 1 when either has something against it or it has grown too large.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { filterProblems } from '@arethetypeswrong/core/problems';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';

/**
 * Bytes of the tarball that call for a look at what came in. It has most code twice: a file for each module of the library,
 * and the bundle of the command line, with the WebAssembly of zstd.
 */
const MOST_PACKED = 1_400_000;

/** npm's report of a tarball. */
interface PackReport {
  readonly filename: string;
  readonly size: number;
  readonly unpackedSize: number;
  readonly entryCount: number;
}

const scratch = mkdtempSync(join(tmpdir(), 'accel-pack-'));
try {
  // The scripts would build, which `npm run check` relies on having been done.
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', scratch];
  const [report] = JSON.parse(execFileSync('npm', args, { encoding: 'utf8' })) as PackReport[];
  const tarball = new Uint8Array(readFileSync(join(scratch, report!.filename)));
  const complaints = [
    ...sizeComplaints(report!),
    ...(await publintComplaints(tarball)),
    ...(await typesWrong(tarball)),
  ];
  for (const complaint of complaints) process.stderr.write(`${complaint}\n`);
  const sizes = `${kilobytes(report!.size)} packed, ${kilobytes(report!.unpackedSize)} unpacked, ${report!.entryCount} files`;
  console.log(`package: ${sizes}, ${complaints.length} complaints`);
  if (complaints.length > 0) process.exitCode = 1;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

function kilobytes(bytes: number): string {
  return `${Math.round(bytes / 1000)} kB`;
}

function sizeComplaints({ size }: PackReport): string[] {
  return size <= MOST_PACKED ? [] : [`the package has grown to ${size} bytes, above ${MOST_PACKED}: what came in?`];
}

async function publintComplaints(tarball: Uint8Array<ArrayBuffer>): Promise<string[]> {
  const { messages, pkg } = await publint({ pack: { tarball: tarball.buffer }, strict: true });
  return messages.map((message) => `publint: ${formatMessage(message, pkg)}`);
}

/** ES modules alone: what `require` of old and TypeScript's resolution before Node 16 make of the package is no concern. */
async function typesWrong(tarball: Uint8Array): Promise<string[]> {
  const analysis = await checkPackage(createPackageFromTarballData(tarball));
  if (analysis.types === false) return ['are-the-types-wrong: the package has no types'];
  const problems = (['node16-esm', 'bundler'] as const).flatMap((resolutionKind) =>
    filterProblems(analysis, { resolutionKind }),
  );
  return [...new Set(problems)].map((problem) => `are-the-types-wrong: ${JSON.stringify(problem)}`);
}
