/** Sends containerd's pulls to the agent first: `config_path`, and a hosts.toml for each registry and each of its P2P names. */
import { posix } from 'node:path';
import { mappedHosts } from '../../config/p2p-names.ts';
import { type ConfigPlace, ContainerdConfig, DEFAULT_CERTS } from './containerd-config.ts';
import { type CertificateFiles, hostsIn, movedHosts, withAgentFirst } from './hosts-toml.ts';
import { ownBlock } from './own-block.ts';
import type { SetupContext, SetupRegistry } from './setup-context.ts';
import { setTomlText } from './toml-text.ts';

/** Sets containerd up, where it is installed. */
export async function setupContainerd(context: SetupContext): Promise<void> {
  const { files, notes, problems } = context;
  if (!(await files.exists('/etc/containerd')) && !(await context.hasProgram('containerd'))) return;
  const config = await ContainerdConfig.read(files, (path) => context.text(path));
  const { conflicts } = config;
  if (conflicts.length > 0) {
    problems.push(
      `containerd refuses config_path beside ${conflicts.join(' and ')}: move these settings into ` +
        `${DEFAULT_CERTS}/HOST/hosts.toml, then run setup again. Nothing of containerd was changed.`,
    );
    return;
  }
  const roots = await configure(context, config);
  for (const registry of context.target.registries) await setupHost(context, roots, registry);
  if (config.version === undefined)
    notes.push('the version of containerd is unknown: accel agent doctor shows whether it works');
}

/** Sees to it that containerd has folders of hosts.toml files, and returns those of each service. */
async function configure(context: SetupContext, config: ContainerdConfig): Promise<readonly (readonly string[])[]> {
  const { notes } = context;
  const { cri, transfer } = config;
  const roots = cri.value.split(':').filter((root) => root !== '');
  const [first = DEFAULT_CERTS] = roots;
  const isSplit = roots.length > 1;
  if (isSplit && config.readsOnePath) {
    notes.push(
      `config_path was "${cri.value}", which this containerd reads as one folder, so that no hosts.toml had any effect: it is ` +
        `${first} now. Move what you need of ${roots.slice(1).join(' and ')} there.`,
    );
  } else if (isSplit && config.version === undefined) {
    notes.push(
      `config_path has several folders, which containerd 2.1 and newer read as one and ignore; ${first} alone works everywhere`,
    );
  }
  const used = isSplit && !config.readsOnePath ? roots : [first];
  const wanted: ConfigPlace[] = [];
  if (cri.value !== used.join(':')) wanted.push({ ...cri, value: used.join(':') });
  if (config.isV2 && transfer.value === '') wanted.push({ ...transfer, value: first });
  await setConfigPaths(context, config, wanted);
  const own = config.isV2 && transfer.value !== '' && !used.includes(transfer.value) ? [[transfer.value]] : [];
  return [used, ...own];
}

async function setConfigPaths(
  context: SetupContext,
  config: ContainerdConfig,
  wanted: readonly ConfigPlace[],
): Promise<void> {
  for (const file of new Set(wanted.map((place) => place.file))) {
    const places = wanted.filter((place) => place.file === file);
    const apply = (text: string | undefined) => ({
      text: places.reduce(
        (current, { path, value }) => setTomlText(current, path, value, file),
        text ?? ownBlock([`version = ${config.isV2 ? 3 : 2}`]),
      ),
    });
    await context.apply({ path: file, kind: 'toml', service: 'containerd', apply });
  }
}

async function setupHost(
  context: SetupContext,
  services: readonly (readonly string[])[],
  registry: SetupRegistry,
): Promise<void> {
  const { agent, port, spegel } = context.target;
  const server = serverOf(registry);
  const target = { agent, spegel, server, ca: registry.caFile };
  const { p2pName } = registry;
  const mapped = [...mappedHosts(registry.host, port), ...(p2pName === undefined ? [] : [p2pName])];
  if (mapped.length === 0) {
    context.notes.push(
      `${registry.host} has no P2P name (X.distributed.REST:${port}): it is no domain name, or has a port`,
    );
  }
  for (const roots of services) {
    for (const host of [registry.host, ...mapped]) {
      const place = await placeOf(context, roots, host);
      const file = posix.join(place.folder, 'hosts.toml');
      const inherited = place.text;
      const apply = (text: string | undefined) => ({
        text: withAgentFirst(text ?? inherited, { ...target, found: place.certificates }, file),
      });
      await context.apply({ path: file, kind: 'toml', apply });
      const hosts = hostsIn((await context.text(file)) ?? '', file);
      if (hosts.indexOf(agent) > 0 && hosts[0] !== spegel)
        context.problems.push(`${file} names ${hosts[0]} before the agent: put ${agent} first`);
    }
  }
}

interface HostPlace {
  readonly folder: string;
  /** Text that applies to the host until now, from another folder. */
  readonly text?: string;
  readonly certificates?: CertificateFiles;
}

/** The folder of a host that containerd finds first: HOST_PORT_, HOST, then _default, in each root. */
async function placeOf(context: SetupContext, roots: readonly string[], host: string): Promise<HostPlace> {
  const names = /:\d+$/.test(host) ? [host.replace(/:(\d+)$/, '_$1_'), host] : [host];
  for (const root of roots) {
    for (const folder of names.map((name) => posix.join(root, name))) {
      if ((await context.text(posix.join(folder, 'hosts.toml'))) !== undefined) return { folder };
      const certificates = await certificatesIn(context, folder);
      if (certificates !== undefined) return { folder, certificates };
    }
    const general = posix.join(root, '_default');
    const text = await context.text(posix.join(general, 'hosts.toml'));
    if (text !== undefined) {
      return { folder: posix.join(root, host), text: movedHosts(text, general, posix.join(general, 'hosts.toml')) };
    }
  }
  return { folder: posix.join(roots[0]!, host) };
}

/** Certificates that containerd takes from a folder as long as no hosts.toml is in it. */
async function certificatesIn({ files }: SetupContext, folder: string): Promise<CertificateFiles | undefined> {
  const names = await files.list(folder);
  const inFolder = (name: string) => posix.join(folder, name);
  const client = names
    .filter((name) => name.endsWith('.cert') && names.includes(name.replace(/\.cert$/, '.key')))
    .map((name) => [inFolder(name), inFolder(name.replace(/\.cert$/, '.key'))] as const);
  const ca = names.filter((name) => name.endsWith('.crt')).map(inFolder);
  return ca.length + client.length === 0 ? undefined : { ca, client };
}

/** The URL of a registry, for containerd. */
export function serverOf({ host, plain }: SetupRegistry): string {
  return `${plain ? 'http' : 'https'}://${host === 'docker.io' ? 'registry-1.docker.io' : host}`;
}
