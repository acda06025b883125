/** The canary pull: an image goes through a real runtime, and the agent's counters show whether it was asked. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { localUrl } from './check-agent.ts';
import { containerd } from './check-runtimes.ts';
import { type Check, type Examined, failed, ok, skipped } from './node-check.ts';
import { command, probe, reasonOf, sumOf } from './probe.ts';
import { setupTarget } from './setup.ts';
import { findProgram } from './setup-context.ts';

/** Namespace of containerd that ctr's pull goes to, and which is removed again. */
const NAMESPACE = 'accel-doctor';
const NAME_IT = 'Name an image for the canary: of a configured registry, and one that the node may pull.';

/** A runtime that can pull, and what its pull proves. */
interface Puller {
  readonly name: string;
  readonly proves: string;
  /** Pulls, and removes what was not there before: why that failed. */
  readonly pull: (image: string) => Promise<string | undefined>;
}

/** Pulls through each runtime of the node that can be asked. */
export async function checkCanary(examined: Examined): Promise<readonly Check[]> {
  const { config, files, canary } = examined;
  const hosts = setupTarget(config).registries.map(({ host }) => host);
  const pullers = [await byCri(examined), await byCtr(examined), await byPodman(examined)].filter(
    (one) => one !== undefined,
  );
  const [first, ...more] = pullers;
  if (first === undefined) {
    const socket = (await containerd(files)).address;
    const fix = 'Install crictl (cri-tools), and start the runtime.';
    return [skipped('canary pull', `no program that pulls (crictl, ctr, podman), or no socket at ${socket}`, fix)];
  }
  const image = canary ?? (await imageOf(examined, hosts));
  if (image === undefined) return [skipped('canary pull', `no image of ${hosts.join(', ')} is on this node`, NAME_IT)];
  const checks: Check[] = [];
  for (const puller of [first, ...more])
    checks.push(await pullWith(puller, image, `${localUrl(config.telemetry.listen)}/metrics`));
  return checks;
}

async function pullWith({ name, proves, pull }: Puller, image: string, metrics: string): Promise<Check> {
  const check = `canary pull by ${name}`;
  const count = async () => {
    const { body } = await probe(metrics);
    return {
      requests: sumOf(body, 'accel_agent_client_requests_total', 'kind="mirror"'),
      bytes: sumOf(body, 'accel_agent_client_sent_bytes_total'),
    };
  };
  try {
    const before = await count();
    const failure = await pull(image);
    const after = await count();
    const requests = after.requests - before.requests;
    if (failure !== undefined) return failed(check, `${image}: ${failure}`, `Mend what it says. ${NAME_IT}`);
    if (requests > 0) {
      return ok(
        check,
        `${image}: ${requests} requests and ${after.bytes - before.bytes} bytes went through the agent; ${proves}`,
      );
    }
    const fix = 'Run accel agent setup, restart the runtime, and look at the checks of setup and config_path.';
    return failed(check, `${image} was pulled, but the agent was not asked`, fix);
  } catch (error) {
    return skipped(check, `the agent's counters cannot be read at ${metrics}: ${reasonOf(error)}`, 'Start the agent.');
  }
}

async function byCri({ files }: Examined): Promise<Puller | undefined> {
  const program = await findProgram(files, 'crictl');
  const { address } = await containerd(files);
  if (program === undefined || !(await files.exists(address))) return undefined;
  const endpoint = `unix://${files.host(await files.locate(address))}`;
  const crictl = (...args: string[]) =>
    command(program, ['-c', '/dev/null', '-r', endpoint, '-i', endpoint, '-t', '60s', ...args], 120_000);
  return {
    name: 'crictl',
    proves: 'kubelet pulls in this way',
    pull: async (image) => {
      const present = await crictl('inspecti', image);
      const pulled = await crictl('pull', image);
      if ('failure' in present && 'output' in pulled) await crictl('rmi', image);
      return 'failure' in pulled ? pulled.failure : undefined;
    },
  };
}

async function byCtr({ files }: Examined): Promise<Puller | undefined> {
  const program = await findProgram(files, 'ctr');
  const { address, cri } = await containerd(files);
  const [folder] = cri.value.split(':');
  if (program === undefined || !(await files.exists(address)) || folder === undefined || folder === '')
    return undefined;
  const ctr = (...args: string[]) => command(program, ['-a', files.host(address), '-n', NAMESPACE, ...args], 120_000);
  return {
    name: 'ctr',
    proves: 'hosts.toml is right, while kubelet also needs config_path',
    pull: async (image) => {
      const fetched = await ctr('content', 'fetch', '--hosts-dir', files.host(await files.locate(folder)), image);
      await ctr('images', 'rm', '--sync', image);
      await ctr('namespaces', 'rm', NAMESPACE);
      return 'failure' in fetched ? fetched.failure : undefined;
    },
  };
}

/** podman reads /etc/containers of this machine, so that another root cannot be examined. */
async function byPodman({ files }: Examined): Promise<Puller | undefined> {
  const program = await findProgram(files, 'podman');
  if (program === undefined || files.root !== '/') return undefined;
  return {
    name: 'podman',
    proves: 'podman and CRI-O use the same files',
    pull: async (image) => {
      const folder = await mkdtemp(join(tmpdir(), 'accel-doctor-'));
      const store = ['--root', join(folder, 'root'), '--runroot', join(folder, 'run'), '--storage-driver', 'vfs'];
      try {
        const pulled = await command(program, [...store, 'pull', '-q', image], 120_000);
        return 'failure' in pulled ? pulled.failure : undefined;
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  };
}

/** An image of a configured registry that containerd has: its pull asks for the manifest again, and for little else. */
async function imageOf({ files }: Examined, hosts: readonly string[]): Promise<string | undefined> {
  const program = await findProgram(files, 'ctr');
  const { address } = await containerd(files);
  if (program === undefined || !(await files.exists(address))) return undefined;
  const listed = await command(program, ['-a', files.host(address), '-n', 'k8s.io', 'images', 'ls', '-q']);
  if ('failure' in listed) return undefined;
  const names = listed.output.split('\n').filter((name) => name.includes('/') && !name.includes('@'));
  return names.find((name) => hosts.includes(name.slice(0, name.indexOf('/'))));
}
