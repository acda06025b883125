/** Checks of the runtimes: versions, the configuration that they see, overlaybd and its snapshotter. */
import { readFile, stat } from 'node:fs/promises';
import { posix } from 'node:path';
import { isRecord } from '../../../base/is-record.ts';
import { VERSION } from '../../../base/version.ts';
import { CONTAINERD_CONFIG, ContainerdConfig } from './containerd-config.ts';
import { type Check, type Examined, failed, ok, skipped, warning } from './node-check.ts';
import { command, isListening, reasonOf } from './probe.ts';
import type { RootedFiles } from './rooted-files.ts';
import { planNode, setupTarget } from './setup.ts';
import { findProgram } from './setup-context.ts';
import { OVERLAYBD_JSON } from './setup-json.ts';
import { parseToml, tomlValue } from './toml-text.ts';

const SETUP = 'Run accel agent setup with this configuration.';
/** The tables of the CRI plugin's registries, in containerd 2 and 1. */
const CRI_TABLES = ['io.containerd.cri.v1.images', 'io.containerd.grpc.v1.cri', 'cri'];
/** Clock ticks a second in /proc, on every Linux that Node runs on. */
const TICKS = 100;

/** Whether setup has done what this configuration asks for. */
export async function checkFiles({ config, files }: Examined): Promise<readonly Check[]> {
  const { changes, problems, notes } = await planNode(config, files.root);
  const checks: Check[] = problems.map((problem) => failed('setup', problem, SETUP));
  if (changes.length > 0) {
    checks.push(failed('setup', `not as setup leaves them: ${changes.map(({ path }) => path).join(', ')}`, SETUP));
  }
  if (checks.length === 0) checks.push(ok('setup', 'all files are as setup leaves them'));
  return [...checks, ...notes.map((note) => skipped('setup', note))];
}

/** The versions of all parts. */
export async function checkVersions({ files }: Examined): Promise<readonly Check[]> {
  const checks = [ok('versions', `accel ${VERSION}, Node ${process.versions.node}`)];
  const { version } = await containerd(files);
  const fix = 'Install containerd 1.6 or newer: older ones know no hosts.toml.';
  if (version !== undefined) {
    const isOld = version.major < 1 || (version.major === 1 && version.minor < 6);
    checks.push(
      isOld ? failed('versions', `containerd ${version.text}`, fix) : ok('versions', `containerd ${version.text}`),
    );
  }
  for (const name of ['podman', 'crio', 'dockerd']) {
    const program = await findProgram(files, name);
    const said = program === undefined ? undefined : await command(program, ['-v'], 10_000);
    if (said !== undefined && 'output' in said) checks.push(ok('versions', said.output.trim().split('\n')[0] ?? name));
  }
  if (checks.length === 1)
    checks.push(failed('versions', 'no container runtime was found', 'Install one, or give the root of the node.'));
  return checks;
}

/** The folder of hosts.toml files that containerd itself reports, and whether the running one has read it. */
export async function checkContainerd({ files }: Examined): Promise<readonly Check[]> {
  const name = 'config_path of containerd';
  const program = await findProgram(files, 'containerd');
  if (program === undefined) return [skipped(name, 'containerd is not installed')];
  const config = await containerd(files);
  const located = await files.locate(CONTAINERD_CONFIG);
  const dump = await command(program, ['-c', files.host(located), 'config', 'dump'], 20_000);
  let seen = config.cri.value;
  if ('output' in dump) {
    const document = parseToml(dump.output, 'containerd config dump');
    const values = CRI_TABLES.map((table) => tomlValue(document, ['plugins', table, 'registry', 'config_path']));
    seen = values.find((value) => typeof value === 'string') ?? '';
  }
  if (seen === '') return [failed(name, 'it is not set', `${SETUP} Then restart containerd.`)];
  if (seen.includes(':') && config.readsOnePath) {
    return [failed(name, `${seen} is read as one folder by containerd ${config.version?.text ?? '2'}`, SETUP)];
  }
  const missing = await Promise.all(
    seen.split(':').map(async (folder) => ((await files.exists(folder)) ? [] : [folder])),
  );
  if (missing.flat().length === seen.split(':').length) return [failed(name, `${seen} does not exist`, SETUP)];
  return [ok(name, seen), ...(await restarted(files, located))];
}

/** Whether containerd started after its configuration was changed: it reads that once. */
async function restarted(files: RootedFiles, config: string): Promise<readonly Check[]> {
  const name = 'start of containerd';
  const changed = await stat(files.host(config)).then(
    ({ mtimeMs }) => mtimeMs,
    () => undefined,
  );
  const started = await startOf('containerd', files);
  if (changed === undefined || started === undefined)
    return [skipped(name, 'no running containerd is seen below this root')];
  // Ticks of /proc are hundredths of a second.
  return [
    started + 1_000 < changed
      ? failed(
          name,
          'it started before its configuration was changed, and has not read it',
          'systemctl restart containerd; running containers go on.',
        )
      : ok(name, 'after the last change of its configuration'),
  ];
}

/** When the first process of a name started, in milliseconds since 1970; undefined without one. */
async function startOf(program: string, files: RootedFiles): Promise<number | undefined> {
  const proc = (path: string) => readFile(files.host(`/proc/${path}`), 'utf8').catch(() => '');
  const boot = /^btime (\d+)$/m.exec(await proc('stat'))?.[1];
  for (const pid of (await files.list('/proc')).filter((name) => /^\d+$/.test(name))) {
    if ((await proc(`${pid}/comm`)).trim() !== program) continue;
    const ticks = (await proc(`${pid}/stat`)).split(') ')[1]?.split(' ')[19];
    if (boot !== undefined && ticks !== undefined) return (Number(boot) + Number(ticks) / TICKS) * 1000;
  }
  return undefined;
}

/** overlaybd, its snapshotter, and the credentials that the device reads with. */
export async function checkOverlaybd({ config, files }: Examined): Promise<readonly Check[]> {
  if (!(await files.exists(OVERLAYBD_JSON)) && !(await files.exists('/opt/overlaybd'))) {
    return [skipped('overlaybd', 'it is not installed: accelerated images do not run on this node')];
  }
  const checks: Check[] = [];
  const plugin = (await containerd(files)).proxyPlugin('overlaybd');
  const fix = `Add [proxy_plugins.overlaybd] to ${CONTAINERD_CONFIG} and restart containerd (docs/containerd.md).`;
  const start = 'systemctl start overlaybd-snapshotter';
  const address = typeof plugin?.address === 'string' ? plugin.address : undefined;
  if (plugin === undefined)
    checks.push(failed('overlaybd snapshotter', 'containerd has no proxy plugin of this name', fix));
  else if (address === undefined || !(await files.exists(address))) {
    checks.push(failed('overlaybd snapshotter', `its socket ${String(plugin.address)} does not exist`, start));
  } else if (!(await isListening(files.host(await files.locate(address))))) {
    checks.push(failed('overlaybd snapshotter', `nobody answers at its socket ${address}`, start));
  } else checks.push(ok('overlaybd snapshotter', address));
  return [
    ...checks,
    ...(await deviceCredentials(
      files,
      setupTarget(config).registries.map(({ host }) => host),
    )),
  ];
}

async function deviceCredentials(files: RootedFiles, hosts: readonly string[]): Promise<readonly Check[]> {
  const name = 'credentials of overlaybd';
  const state = await files.read(OVERLAYBD_JSON);
  if (state === undefined)
    return [failed(name, `${OVERLAYBD_JSON} is missing`, 'Install the configuration of overlaybd.')];
  const text = state.bytes.toString('utf8');
  if (/"mode"\s*:\s*"http"/.test(text)) return [ok(name, 'by HTTP (credentialConfig)')];
  const path = /"(?:credentialFilePath|path)"\s*:\s*"([^"]*cred[^"]*)"/.exec(text)?.[1] ?? '/opt/overlaybd/cred.json';
  const file = await files.read(path).catch(() => undefined);
  const fix = `Write ${path}, in the form of Docker's config.json, with mode 0600 (docs/kubernetes.md).`;
  if (file === undefined) return [warning(name, `${path} is missing: only public images can be read`, fix)];
  if ((file.mode & 0o077) !== 0)
    return [warning(name, `${path} can be read by others (mode ${file.mode.toString(8)})`, `chmod 600 ${path}`)];
  try {
    const { auths } = JSON.parse(file.bytes.toString('utf8')) as Record<string, unknown>;
    const named = isRecord(auths) ? Object.keys(auths) : [];
    const missing = hosts.filter((host) => !named.some((key) => key.includes(host)));
    return [
      missing.length === 0 ? ok(name, path) : warning(name, `${path} has no entry for ${missing.join(', ')}`, fix),
    ];
  } catch (error) {
    return [failed(name, error instanceof SyntaxError ? `${path} is not JSON` : reasonOf(error), fix)];
  }
}

/** containerd's configuration as it is now. */
export function containerd(files: RootedFiles): Promise<ContainerdConfig> {
  return ContainerdConfig.read(files, async (path) =>
    (await files.read(posix.normalize(path)))?.bytes.toString('utf8'),
  );
}
