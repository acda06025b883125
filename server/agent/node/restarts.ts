/** Daemons that read a changed file only at their start or on a signal. They are left alone unless the caller asks for it. */
import { spawn } from 'node:child_process';
import type { NodeChange } from './node-changes.ts';
import type { RootedFiles } from './rooted-files.ts';
import type { Restart } from './setup-context.ts';

/** overlaybd has one folder for each device that is in use. */
const DEVICES = '/sys/kernel/config/target/core';
/** Milliseconds for one daemon; systemd itself gives a unit 90 seconds to stop and 90 to start. */
const TIMEOUT = 200_000;
/** Characters of its output that are kept. */
const MAX_OUTPUT = 10_000;
/** Milliseconds for the output of a program that has ended, where another one holds the other end. */
const LAST_WORDS = 200;

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
  const inOrder = Object.entries(DAEMONS).filter(([service]) => changed.has(service));
  return inOrder.map(([service, daemon]) => ({
    service,
    ...daemon,
    ...(service === 'overlaybd-tcmu' && devices > 0 ? { byHand } : {}),
  }));
}

/** Restarts and reloads, one after another, and returns what is left to do by hand. `timeout` in milliseconds is for each. */
export async function restartDaemons(
  restarts: readonly Restart[],
  root: string,
  { timeout = TIMEOUT } = {},
): Promise<readonly Restart[]> {
  const left: Restart[] = [];
  for (const one of restarts) {
    const call = ['systemctl', one.action, one.service];
    const failure =
      one.byHand === undefined ? await failureOf(root === '/' ? call : ['chroot', root, ...call], timeout) : undefined;
    if (failure !== undefined) left.push({ ...one, byHand: `It was tried here: ${failure}` });
    else if (one.byHand !== undefined) left.push(one);
  }
  return left;
}

/** Runs a command: why it did not do what it should, undefined when it did. */
function failureOf([file = '', ...args]: readonly string[], timeout: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      child.kill('SIGKILL');
    }, timeout);
    const end = (failure: string | undefined) => {
      clearTimeout(timer);
      // A program that it started may hold the other end.
      child.stderr.destroy();
      resolve(failure);
    };
    child.stderr.on('data', (chunk: Buffer) => {
      if (said.length < MAX_OUTPUT) said += chunk.toString('utf8');
    });
    child.once('error', ({ message }) => end(message));
    const judge = () => {
      const lines = said.trim().split('\n').slice(0, 2).join(' ');
      const { exitCode: code } = child;
      // systemctl ends well in a container, where it has done nothing.
      if (isLate) end(`no end within ${timeout / 1000} s`);
      else if (code === 0 && !/ignoring (?:command|request)/.test(said)) end(undefined);
      else end(lines === '' ? `exit code ${code ?? 'none'}` : lines);
    };
    child.once('close', judge);
    child.once('exit', () => setTimeout(judge, LAST_WORDS).unref());
  });
}

async function usedDevices(files: RootedFiles): Promise<number> {
  const adapters = (await files.list(DEVICES)).filter((name) => name.startsWith('user_'));
  const devices = await Promise.all(
    adapters.map(async (name) => (await files.list(`${DEVICES}/${name}`)).filter((entry) => entry.startsWith('dev_'))),
  );
  return devices.flat().length;
}
