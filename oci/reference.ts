/**
 * References: what users write for an image. Registries follow the grammar of distribution/reference, with Docker
 * Hub's short forms; `oci:DIR[:TAG][@DIGEST]` names an image of a layout on disk, `oci-archive:FILE` and
 * `docker-archive:FILE` with the same endings one in a tar.
 */
import { type Advice, advise, option } from '../base/advice.ts';
import { AccelError } from '../base/error.ts';
import { assertDigest } from './digest.ts';

/** An image (or a repository) of a registry. `registry` is the host[:port] that serves its API. */
export interface RegistryReference {
  readonly kind: 'registry';
  readonly registry: string;
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: string;
}

/** An image (or all) of an OCI image layout on disk. */
export interface LayoutReference {
  readonly kind: 'layout';
  readonly directory: string;
  readonly tag?: string;
  readonly digest?: string;
}

/** An image (or all) of an archive: an OCI image layout in a tar, or what `docker save` writes. */
export interface ArchiveReference {
  readonly kind: 'archive';
  readonly format: 'oci' | 'docker';
  readonly file: string;
  readonly tag?: string;
  readonly digest?: string;
}

/** Any reference. When both tag and digest are given, the digest decides. */
export type Reference = RegistryReference | LayoutReference | ArchiveReference;

/** The API host of Docker Hub. */
export const DOCKER_HUB = 'registry-1.docker.io';

/** Longest tag that a registry takes (distribution-spec, "Pulling manifests"). */
export const MAX_TAG_LENGTH = 128;

const HUB_ALIASES: readonly string[] = ['docker.io', 'index.docker.io', 'registry.hub.docker.com', DOCKER_HUB];
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/;
const PATH = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const HOST = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::\d{1,5})?$/;
/**
 * Transports of skopeo, podman and buildah that lead elsewhere; `dir:1.2` and alike could be read as a repository with
 * a tag.
 */
const OTHER_TRANSPORTS = /^(dir|docker-daemon|containers-storage|ostree|sif|atomic|tarball):(?!\d+\/)/;
/** Longest repository name, host included (distribution/reference). */
const MAX_NAME_LENGTH = 255;

/** Parses a reference. Throws `reference-invalid`, or `tag-too-long`. */
export function parseReference(text: string): Reference {
  if (text.length > 4096 || hasControl(text)) throw invalid(text, 'a reference without control characters');
  if (text.startsWith('oci:')) return parseLayout(text);
  if (/^(oci|docker)-archive:/.test(text)) return parseArchive(text);
  const transport = OTHER_TRANSPORTS.exec(text)?.[1];
  if (transport !== undefined) {
    throw invalid(text, 'host[:port]/repo[:tag][@digest], oci:DIR[:TAG] or oci-archive:FILE[:TAG]', {
      hint: `${transport}: is not read; turn it into a layout first: skopeo copy ${transport}:… oci:DIR:TAG`,
    });
  }
  if (text.startsWith('docker://')) return parseRegistry(text.slice('docker://'.length), text);
  if (/^[a-z]+:\/\//i.test(text)) {
    throw invalid(text, 'a reference without a scheme', {
      hint: advise`Write ${text.replace(/^[a-z]+:\/\//i, '')}; for a registry that speaks plain HTTP use ${option('plain')}.`,
    });
  }
  return parseRegistry(text, text);
}

/** Parses a repository: a reference that has neither tag nor digest. Throws `reference-invalid`. */
export function parseRepository(text: string): Reference {
  const reference = parseReference(text);
  if (reference.digest !== undefined) {
    throw invalid(text, 'a repository without a digest', {
      hint: advise`Give the digest by ${option('inputDigest', 'DIGEST')}.`,
    });
  }
  if (reference.tag !== undefined) {
    const directory = reference.kind === 'layout' ? ' If the colon belongs to the directory, end it with a slash.' : '';
    throw invalid(text, 'a repository without a tag', {
      hint: advise`Give the tag apart: ${option('repository', formatReference(withoutTag(reference)))} ${option('inputTag', reference.tag)}.${directory}`,
    });
  }
  return reference;
}

/** The reference as text; parsing it gives the same reference back. */
export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`;
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`;
  if (reference.kind === 'registry') {
    const registry = reference.registry === DOCKER_HUB ? 'docker.io' : reference.registry;
    return `${registry}/${reference.repository}${tag}${digest}`;
  }
  // A file whose own name ends like a tag cannot be named without a tag: no suffix would separate them.
  if (reference.kind === 'archive') return `${reference.format}-archive:${reference.file}${tag}${digest}`;
  // "dir:x" without a tag would read as tag x.
  const slash = tag === '' && splitTag(reference.directory) !== undefined ? '/' : '';
  return `oci:${reference.directory}${slash}${tag}${digest}`;
}

/** Returns `tag` if a registry takes it. Throws `tag-too-long` past 128 characters, `reference-invalid` otherwise. */
export function assertTag(tag: string): string {
  if (TAG.test(tag)) {
    if (tag.length <= MAX_TAG_LENGTH) return tag;
    throw new AccelError('tag-too-long', 'the tag is longer than registries allow', {
      where: { tag },
      expected: `at most ${MAX_TAG_LENGTH} characters`,
      found: `${tag.length} characters`,
      hint: advise`Name a shorter tag with ${option('outputTag', 'TAG')}.`,
    });
  }
  throw new AccelError('reference-invalid', 'this is not a tag', {
    expected: 'letters, digits, _ . and -, not beginning with . or -',
    found: tag,
  });
}

/** Returns `name` if it is a repository name (without host). Throws `reference-invalid`. */
export function assertRepositoryName(name: string, whole: string = name): string {
  if (name.length <= MAX_NAME_LENGTH && name.split('/').every((part) => PATH.test(part))) return name;
  throw invalid(whole, 'a repository of lower-case letters, digits, . _ - and /, at most 255 characters', {
    ...(name !== name.toLowerCase() ? { hint: `Repository names are lower case: ${name.toLowerCase()}` } : {}),
  });
}

/** The same reference without tag and digest. */
export function withoutTag(reference: Reference): Reference {
  const { tag: _, digest: __, ...rest } = reference;
  return rest;
}

function parseRegistry(text: string, whole: string): RegistryReference {
  const { rest: named, digest } = splitDigestSuffix(text, whole);
  const slash = named.indexOf('/');
  const first = slash < 0 ? '' : named.slice(0, slash);
  // Docker's rule: the first part is a host if it could not be a part of a repository's path, or is localhost.
  const lower = first.toLowerCase();
  const evident = /[.:[\]]/.test(first) || lower === 'localhost';
  const hasHost = slash >= 0 && (evident || first !== lower);
  let path = hasHost ? named.slice(slash + 1) : named;
  let tag: string | undefined;
  const colon = path.lastIndexOf(':');
  if (colon >= 0) {
    tag = assertTag(path.slice(colon + 1));
    path = path.slice(0, colon);
  }
  if (hasHost && !isHost(first)) throw invalid(whole, 'a host name, with a port from 1 to 65535 or none');
  // A bare host is recognized by its capitals, so they are kept.
  let registry = hasHost ? (evident ? lower : first) : DOCKER_HUB;
  if (HUB_ALIASES.includes(registry)) {
    registry = DOCKER_HUB;
    if (!path.includes('/')) path = `library/${path}`;
  }
  assertRepositoryName(path, whole);
  return { kind: 'registry', registry, repository: path, ...(tag ? { tag } : {}), ...(digest ? { digest } : {}) };
}

function parseLayout(text: string): LayoutReference {
  const { place: directory, ...named } = parsePath(text, 'oci:DIR[:TAG] with a directory');
  return { kind: 'layout', directory, ...named };
}

function parseArchive(text: string): ArchiveReference {
  const format = text.startsWith('oci-') ? 'oci' : 'docker';
  const { place: file, ...named } = parsePath(text, `${format}-archive:FILE[:TAG] with a file`);
  return { kind: 'archive', format, file, ...named };
}

/** Parses the part after the scheme: a path with an optional tag and digest. */
function parsePath(
  text: string,
  expected: string,
): { readonly place: string; readonly tag?: string; readonly digest?: string } {
  const { rest, digest } = splitDigestSuffix(text.slice(text.indexOf(':') + 1), text);
  const split = splitTag(rest);
  const place = split?.directory ?? rest;
  if (place === '') throw invalid(text, expected);
  const tag = split === undefined ? undefined : assertTag(split.tag);
  return { place, ...(tag ? { tag } : {}), ...(digest ? { digest } : {}) };
}

/** A directory may hold colons: the last one begins a tag if what follows could be one. */
function splitTag(text: string): { readonly directory: string; readonly tag: string } | undefined {
  const colon = text.lastIndexOf(':');
  const tag = text.slice(colon + 1);
  return colon > 0 && TAG.test(tag) ? { directory: text.slice(0, colon), tag } : undefined;
}

function splitDigestSuffix(text: string, whole: string): { readonly rest: string; readonly digest?: string } {
  const at = text.lastIndexOf('@');
  const suffix = text.slice(at + 1);
  // A directory may contain an @: only text that begins like a digest is taken as one.
  if (at < 0 || (/^(oci|oci-archive|docker-archive):/.test(whole) && !/^sha\d+:/.test(suffix))) return { rest: text };
  if (!suffix.includes(':')) throw invalid(whole, 'a digest after the @');
  return { rest: text.slice(0, at), digest: assertDigest(suffix) };
}

function isHost(text: string): boolean {
  const port = /:(\d{1,5})$/.exec(text.replace(/^\[[^\]]*\]/, ''))?.[1];
  if (!HOST.test(text) || (port !== undefined && (Number(port) < 1 || Number(port) > 65535))) return false;
  // The grammar accepts more than valid addresses: [::81] is valid, [:81] and 1.2.3.400 are not.
  return URL.canParse(`https://${text}/`);
}

function hasControl(text: string): boolean {
  return [...text].some((character) => (character.codePointAt(0) ?? 0) < 0x20 || character === '\x7f');
}

function invalid(text: string, expected: string, details: { readonly hint?: string | Advice } = {}): AccelError {
  return new AccelError('reference-invalid', 'this is not a valid reference', {
    expected,
    // JSON's escapes keep control characters of a pasted reference off the terminal.
    found: JSON.stringify(text.length > 300 ? `${text.slice(0, 297)}...` : text).slice(1, -1),
    ...details,
  });
}
