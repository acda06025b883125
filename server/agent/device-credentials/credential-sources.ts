/** Finds the node's own credentials of registries, for block devices, which have no caller that could bring one. */
import { DOCKER_HUB } from '../../../oci/reference.ts';
import { findCredentials } from '../../../oci/registry/credentials.ts';

/** Names of Docker Hub: overlaybd looks a credential up by the host of a blob's URL. */
export const HUB_NAMES: readonly string[] = ['docker.io', 'registry-1.docker.io', 'index.docker.io'];

/** A user and password: block devices know no other kind. */
export interface DeviceCredential {
  readonly username: string;
  readonly password: string;
}

/** A place that may know a credential: files of the node or the cluster, or kubelet's plugins. */
export interface CredentialSource {
  /** The credential for a repository of a registry, `host[:port]`; undefined where this source has none. */
  find(registry: string, repository: string): Promise<DeviceCredential | undefined>;
}

/** A registry of the configuration. */
export interface CredentialRegistry {
  readonly host: string;
  readonly credentialsFile?: string | undefined;
}

/** Environment of a process: where Docker and containers look for their configuration. */
type Environment = Readonly<Record<string, string | undefined>>;

/** The files of the node: `credentialsFile` of a registry, and the configuration of Docker and containers for the others. */
export function fileCredentials(registries: readonly CredentialRegistry[], env: Environment): CredentialSource {
  return {
    find: (registry, repository) => {
      const file = registries.find(({ host }) => host === registry)?.credentialsFile;
      // A registry that names its file has no other one.
      return credentialIn(file === undefined ? env : onlyFile(file, env), registry, repository);
    },
  };
}

/** One file in the form of Docker's config.json for all registries; while it does not exist, it has no credential. */
export function oneFileCredentials(path: string): CredentialSource {
  return { find: (registry, repository) => credentialIn(onlyFile(path, process.env), registry, repository) };
}

async function credentialIn(
  env: Environment,
  registry: string,
  repository: string,
): ReturnType<CredentialSource['find']> {
  // Docker's files know the hub under one name.
  const name = HUB_NAMES.includes(registry) ? DOCKER_HUB : registry;
  const found = await findCredentials(name, repository, { env });
  return found?.kind === 'basic' ? { username: found.username, password: found.password } : undefined;
}

/** The first credential that one of the sources has. A source that fails is passed over, and `onProblem` hears of it. */
export function firstOf(sources: readonly CredentialSource[], onProblem: (problem: unknown) => void): CredentialSource {
  return {
    async find(registry, repository) {
      for (const source of sources) {
        try {
          const found = await source.find(registry, repository);
          if (found !== undefined) return found;
        } catch (error) {
          onProblem(error);
        }
      }
      return undefined;
    },
  };
}

/** An environment in which one file alone is looked at. */
function onlyFile(file: string, { PATH }: Environment): Environment {
  return { PATH, DOCKER_CONFIG: '/dev/null', REGISTRY_AUTH_FILE: file };
}
