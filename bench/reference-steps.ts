/**
 * Lists the commands by which overlaybd's own tools convert an image: the calls that its userspace convertor makes
 * (accelerated-container-image, cmd/convertor/builder), one after another, with the files that pass between them.
 */
import { accessSync, constants } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from './child.ts';

/** Where overlaybd's packages put the tools. */
const INSTALLED = '/opt/overlaybd/bin';

/** The tools, and the environment variables that name others. */
const REFERENCE_TOOLS = {
  'overlaybd-create': 'OVERLAYBD_CREATE',
  'overlaybd-apply': 'OVERLAYBD_APPLY',
  'overlaybd-commit': 'OVERLAYBD_COMMIT',
  'turboOCI-apply': 'TURBOOCI_APPLY',
} as const;

/** GiB of the virtual device, the tools' usual one. */
const VIRTUAL_SIZE = '64';

/** Settings that the tools require for a service that does not run here. */
const SERVICE = {
  registryFsVersion: 'v2',
  logLevel: 1,
  ioEngine: 0,
  gzipCacheConfig: { enable: false },
  credentialConfig: { mode: 'file', path: '' },
  download: { enable: false },
  enableAudit: false,
};

/** One command of a conversion. */
export interface Step {
  readonly name: string;
  readonly command: Command;
}

/** A layer while it is converted. */
export interface LayerWork {
  /** The source layer, compressed by gzip. */
  readonly blob: string;
  /** An empty folder of its own. */
  readonly folder: string;
  /** The converted layers below, lowest first. */
  readonly lowers: readonly Lower[];
}

/** A converted layer, as the next one's configuration names it. */
export interface Lower {
  readonly file: string;
  readonly targetFile?: string;
}

/** Conversion of one layer by the reference: its commands, and the file that would be pushed. */
export interface LayerSteps {
  readonly steps: readonly Step[];
  readonly result: string;
  readonly lower: Lower;
}

/** The tools that are missing on this machine, with the variables that would name them; empty when all are there. */
export function missingReferenceTools(): string[] {
  return Object.entries(REFERENCE_TOOLS)
    .filter(([name]) => !isExecutable(toolPath(name as keyof typeof REFERENCE_TOOLS)))
    .map(([name, variable]) => `${name} (${variable}, ${INSTALLED})`);
}

/** Full mode: uncompress to disk, apply to a writable layer, commit that, hash what came out. */
export async function fullSteps(work: LayerWork, commitFlags: readonly string[]): Promise<LayerSteps> {
  const { at, data, index } = await prepare(work, {});
  const result = at('overlaybd.commit');
  const create = [data, index, VIRTUAL_SIZE, '-s', ...mkfs(work)];
  const apply = [at('layer.tar'), at('config.json'), '--service_config_path', at('service.json')];
  const steps = [
    { name: 'gunzip', command: { program: 'gzip', args: ['-dc'], input: work.blob, output: at('layer.tar') } },
    { name: 'apply', command: { program: toolPath('overlaybd-create'), args: create } },
    { name: 'apply', command: { program: toolPath('overlaybd-apply'), args: apply } },
    {
      name: 'commit',
      command: { program: toolPath('overlaybd-commit'), args: [data, index, result, '-z', '-t', ...commitFlags] },
    },
    { name: 'sha256sum', command: { program: 'sha256sum', args: [], input: result } },
  ];
  return { steps, result, lower: { file: result } };
}

/** Index-only mode: index and apply the compressed layer, commit the metadata, pack and hash it. */
export async function indexSteps(work: LayerWork): Promise<LayerSteps> {
  const { at, data, index } = await prepare(work, { target: work.blob });
  const [meta, result] = [at('ext4.fs.meta'), at('turboOCIv1.tar.gz')];
  const create = [data, index, VIRTUAL_SIZE, '--turboOCI', ...mkfs(work)];
  const service = ['--service_config_path', at('service.json')];
  const apply = [work.blob, at('config.json'), '--gz_index_path', at('gzip.meta'), ...service];
  const pack = ['-czf', result, '-C', work.folder, 'ext4.fs.meta', 'gzip.meta'];
  const steps = [
    { name: 'apply', command: { program: toolPath('overlaybd-create'), args: create } },
    { name: 'apply', command: { program: toolPath('turboOCI-apply'), args: apply } },
    {
      name: 'commit',
      command: { program: toolPath('overlaybd-commit'), args: [data, index, meta, '-z', '--turboOCI'] },
    },
    { name: 'pack', command: { program: 'tar', args: pack } },
    { name: 'sha256sum', command: { program: 'sha256sum', args: [], input: result } },
  ];
  return { steps, result, lower: { file: meta, targetFile: work.blob } };
}

async function prepare({ folder, lowers }: LayerWork, upper: { readonly target?: string }) {
  const at = (name: string) => join(folder, name);
  const [data, index] = [at('writable_data'), at('writable_index')];
  await writeFile(at('config.json'), JSON.stringify({ lowers, upper: { data, index, ...upper }, resultFile: '' }));
  const cacheConfig = { cacheType: 'file', cacheDir: at('cache'), cacheSizeGB: 1 };
  const service = { ...SERVICE, logPath: at('overlaybd.log'), cacheConfig };
  await writeFile(at('service.json'), JSON.stringify(service));
  return { at, data, index };
}

/** Only the lowest layer gets a new file system. */
function mkfs({ lowers }: LayerWork): string[] {
  return lowers.length === 0 ? ['--mkfs'] : [];
}

function toolPath(name: keyof typeof REFERENCE_TOOLS): string {
  return process.env[REFERENCE_TOOLS[name]] ?? join(INSTALLED, name);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
