/** Daemons that read a changed file only at their start or on a signal. They are left alone unless the caller asks for it. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { NodeChange } from './node-changes.ts';
import type { RootedFiles } from './rooted-files.ts';
import type { Restart } from './setup-context.ts';

/** overlaybd has one folder for each device that is in use. */
const DEVICES = '/sys/kernel/config/target/core';
const TIMEOUT = 120_000;

const DAEMONS: Readonly<Record<string, Pick<Restart, 'action' | 'why'>>> = {
  containerd: { action: 'restart', why: 'it reads config_path when it starts; running containers go on' },
  crio: { action: 'reload', why: 'it reads registries.conf.d again on SIGHUP' },
  docker: { action: 'reload', why: 'it reads registry-mirrors again on SIGHUP' },
  'overlaybd-tcmu': { action: 'restart', why: 'it reads overlaybd.json when it starts' },
};

/** The daemons that changed files belong to. */
export async function restartsFor(changes: readonly NodeChange[], files: RootedFiles): Promise<readonly Restart[]> {
  const changed = new Set(changes.flatMap(({ action, service }) => (action === 'kept' ? [] : (service ?? []))));
  const devices = changed.has('overlaybd-tcmu') ? await usedDevices(files) : 0;
  const byHand = `${devices} devices are in use and end with it: move their pods to other nodes first`;
  return [...changed].map((service) => ({
    service,
    ...DAEMONS[service]!,
    ...(service === 'overlaybd-tcmu' && devices > 0 ? { byHand } : {}),
  }));
}

/** Restarts and reloads, and returns what is left to do by hand. */
export async function restartDaemons(restarts: readonly Restart[], root: string): Promise<readonly Restart[]> {
  const left: Restart[] = [];
  for (const one of restarts) {
    if (one.byHand !== undefined) {
      left.push(one);
      continue;
    }
    const command = ['systemctl', one.action, one.service];
    const [file = '', ...args] = root === '/' ? command : ['chroot', root, ...command];
    await promisify(execFile)(file, args, { timeout: TIMEOUT }).catch((error: Error) => {
      left.push({ ...one, byHand: `${command.join(' ')} failed: ${error.message.split('\n').slice(0, 2).join(' ')}` });
    });
  }
  return left;
}

async function usedDevices(files: RootedFiles): Promise<number> {
  const adapters = (await files.list(DEVICES)).filter((name) => name.startsWith('user_'));
  const devices = await Promise.all(
    adapters.map(async (name) => (await files.list(`${DEVICES}/${name}`)).filter((entry) => entry.startsWith('dev_'))),
  );
  return devices.flat().length;
}
