// The steps of uninstalling that ask the API of Kubernetes: `rewriting` ends the rewriting of pods, `wait` waits until the cleanup of
// every node is done. Exit code 1 says what is missing.
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
const { env } = process;
const host = env.KUBERNETES_SERVICE_HOST ?? 'kubernetes.default.svc';
const api = `https://${host.includes(':') ? `[${host}]` : host}:${env.KUBERNETES_SERVICE_PORT ?? 443}`;
const token = readFileSync(env.TOKEN_FILE ?? `${ACCOUNT}/token`, 'utf8').trim();

async function ask(method, path) {
  const response = await fetch(`${api}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(10_000),
  });
  const text = await response.text();
  if (response.ok) return JSON.parse(text);
  if (response.status === 404) return undefined;
  throw new Error(`${method} ${path}: HTTP ${response.status}, ${text.slice(0, 300)}`);
}

async function rewriting() {
  for (const object of env.REWRITING.split(',')) {
    const path = `/apis/admissionregistration.k8s.io/${env.REWRITING_VERSION}/${object}`;
    const gone = (await ask('DELETE', path)) === undefined;
    console.log(`${object}: ${gone ? 'was not there' : 'removed, no more pods are rewritten'}`);
  }
}

async function wait() {
  const [namespace, name] = env.CLEANUP.split('/');
  const end = Date.now() + Number(env.CLEANUP_SECONDS) * 1000;
  for (;;) {
    const found = await ask('GET', `/apis/apps/v1/namespaces/${namespace}/daemonsets/${name}`).catch((error) => error);
    const { observedGeneration = 0, desiredNumberScheduled = 0, numberReady = 0 } = found?.status ?? {};
    const seen = observedGeneration >= (found?.metadata?.generation ?? 1);
    const state =
      found instanceof Error ? found.message : `${numberReady} of ${desiredNumberScheduled} nodes are as they were`;
    if (seen && numberReady >= desiredNumberScheduled) return console.log(state);
    if (Date.now() >= end) {
      throw new Error(
        `${state}, after ${env.CLEANUP_SECONDS} s. kubectl -n ${namespace} get pods -o wide shows the others; ` +
          'helm uninstall again waits for them, helm uninstall --no-hooks leaves them as they are.',
      );
    }
    await delay(Math.min(1000, end - Date.now()));
  }
}

await { rewriting, wait }[process.argv[2]]();
