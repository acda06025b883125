/** Sets Docker and overlaybd up, whose configurations are JSON. */
import { changeJson, type JsonChange } from './json-text.ts';
import type { SetupContext, SetupTarget } from './setup-context.ts';

/** overlaybd's configuration. */
export const OVERLAYBD_JSON = '/etc/overlaybd/overlaybd.json';
/** Docker's configuration. */
export const DAEMON_JSON = '/etc/docker/daemon.json';

/**
 * The values of overlaybd.json that setup sets, each edited in place and taken back by cleanup. Everything that setup wants there
 * has its line here.
 */
export function overlaybdChanges({ blockProxy, credentials }: SetupTarget): readonly JsonChange[] {
  return [
    { path: ['p2pConfig', 'enable'], value: true },
    { path: ['p2pConfig', 'address'], value: blockProxy },
    ...(credentials === undefined
      ? []
      : [
          { path: ['credentialConfig', 'mode'], value: credentials.mode },
          { path: ['credentialConfig', 'path'], value: credentials.path },
        ]),
  ];
}

/** Lets overlaybd's devices read through the agent, where it is installed. */
export async function setupOverlaybd(context: SetupContext): Promise<void> {
  const { files, target, problems } = context;
  if (await files.exists(OVERLAYBD_JSON)) {
    const changes = overlaybdChanges(target);
    await applyJson(context, { path: OVERLAYBD_JSON, service: 'overlaybd-tcmu' }, changes);
  } else if (await files.exists('/opt/overlaybd')) {
    problems.push(
      `overlaybd is in /opt/overlaybd without ${OVERLAYBD_JSON}: install its configuration, then run setup again`,
    );
  }
}

/** Names the agent as Docker's mirror of Docker Hub, the only registry for which Docker has mirrors. */
export async function setupDocker(context: SetupContext): Promise<void> {
  const { files, target, notes } = context;
  if (!(await files.exists('/etc/docker')) && !(await context.hasProgram('dockerd'))) return;
  const others = target.registries.filter(({ host }) => host !== 'docker.io').map(({ host }) => host);
  if (others.length > 0)
    notes.push(`Docker has mirrors for Docker Hub alone: dockerd pulls from ${others.join(', ')} directly`);
  if (others.length === target.registries.length) return;
  await applyJson(context, { path: DAEMON_JSON, service: 'docker' }, [
    { path: ['registry-mirrors'], first: target.agent },
  ]);
}

async function applyJson(
  context: SetupContext,
  file: { readonly path: string; readonly service: string },
  changes: readonly JsonChange[],
): Promise<void> {
  await context.apply({ ...file, kind: 'json', apply: (text) => changeJson(text ?? '{}\n', changes, file.path) });
}
