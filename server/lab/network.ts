/** Network namespaces on a bridge, with shaped links: what the lab's machines stand for. Needs root. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Names of everything that a lab makes begin with this: labs of different names may run at the same time. */
let prefix = 'accel-lab';

/** Address of the registry, in its namespace. */
export const REGISTRY_ADDRESS = '10.99.0.250';

/** A namespace with one interface on the bridge. */
export interface Machine {
  readonly namespace: string;
  readonly address: string;
}

/** Names the lab, before anything is made. */
export function nameLab(name: string): void {
  prefix = name;
}

/** The namespace of node `number`, from 1. */
export function machineOf(number: number): Machine {
  return { namespace: `${prefix}-${number}`, address: `10.99.0.${number}` };
}

/** The registry's namespace. */
export const REGISTRY_MACHINE: Machine = {
  get namespace() {
    return `${prefix}-registry`;
  },
  address: REGISTRY_ADDRESS,
};

/** Makes the namespaces. */
export async function createNetwork(nodes: number): Promise<void> {
  await removeNetwork();
  await ip('netns', 'add', switchName());
  await ip('-n', switchName(), 'link', 'add', 'br0', 'type', 'bridge');
  await ip('-n', switchName(), 'link', 'set', 'br0', 'up');
  for (const machine of [REGISTRY_MACHINE, ...Array.from({ length: nodes }, (_, index) => machineOf(index + 1))])
    await connect(machine);
}

/** Limits what the registry sends, in the words of tc (`50mbit`). */
export async function shapeRegistry(uplink: string): Promise<void> {
  const shape = `tbf rate ${uplink} burst 256kb latency 400ms`;
  await run('tc', ['-n', REGISTRY_MACHINE.namespace, 'qdisc', 'add', 'dev', 'eth0', 'root', ...shape.split(' ')]);
}

/** Mounts memory on a folder: the nodes' disks are separate, and one disk under all of them would be what is measured. */
export async function mountMemory(folder: string): Promise<void> {
  await run('mount', ['-t', 'tmpfs', '-o', 'size=90%', 'accel-lab', folder]);
}

/** Unmounts everything under a folder, what containerd has left included, and the folder itself. */
export async function unmountMemory(folder: string): Promise<void> {
  const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' ')[1] ?? '');
  // The innermost first.
  for (const path of mounts.filter((path) => path === folder || path.startsWith(`${folder}/`)).reverse())
    await run('umount', ['-l', path]).catch(() => undefined);
}

/** Cuts a machine off the others, or lets it back. */
export async function setLink({ namespace }: Machine, state: 'up' | 'down'): Promise<void> {
  await ip('-n', switchName(), 'link', 'set', portOf(namespace), state);
}

/** Bytes that the registry's interface has sent. */
export async function registryBytesSent(): Promise<number> {
  const { stdout } = await ip('-n', REGISTRY_MACHINE.namespace, '-s', '-j', 'link', 'show', 'eth0');
  return (JSON.parse(stdout) as { stats64: { tx: { bytes: number } } }[])[0]!.stats64.tx.bytes;
}

/** Removes what an earlier run has left, and what this one made. */
export async function removeNetwork(): Promise<void> {
  const { stdout } = await ip('netns', 'list');
  const names = stdout
    .split('\n')
    .map((line) => line.split(' ')[0]!)
    .filter((name) => name.startsWith(`${prefix}-`));
  for (const name of names) {
    const pids = (await ip('netns', 'pids', name)).stdout.split('\n').filter((pid) => pid !== '');
    for (const pid of pids) process.kill(Number(pid), 'SIGKILL');
    await ip('netns', 'delete', name);
  }
}

/** The command that runs another in a machine's network. */
export function inside({ namespace }: Machine, command: readonly string[]): [string, string[]] {
  return ['nsenter', [`--net=/run/netns/${namespace}`, '--', ...command]];
}

async function connect({ namespace, address }: Machine): Promise<void> {
  const port = portOf(namespace);
  await ip('netns', 'add', namespace);
  await ip('-n', namespace, 'link', 'set', 'lo', 'up');
  await ip('link', 'add', 'eth0', 'netns', namespace, 'type', 'veth', 'peer', 'name', port, 'netns', switchName());
  await ip('-n', switchName(), 'link', 'set', port, 'master', 'br0', 'up');
  await ip('-n', namespace, 'address', 'add', `${address}/24`, 'dev', 'eth0');
  await ip('-n', namespace, 'link', 'set', 'eth0', 'up');
}

function switchName(): string {
  return `${prefix}-switch`;
}

/** Names of interfaces are at most 15 characters long. */
function portOf(namespace: string): string {
  return `p-${namespace.slice(prefix.length + 1)}`;
}

function ip(...args: string[]) {
  return run('ip', args);
}
