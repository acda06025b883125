/** Debian packages of the executables, made by dpkg-deb without root. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { VERSION } from '../../base/version.ts';

/** Holds the files of a package beside the executable. */
export interface PackageTexts {
  readonly manual: string;
  /** By shell. */
  readonly completions: Readonly<Record<'bash' | 'zsh' | 'fish' | 'powershell', string>>;
  /** Licences of Node and of the packages inside; Debian has that of accel. */
  readonly copyright: string;
}

const MAINTAINER = 'The accel authors <accel@example.com>';

const OWN_LICENSE = `accel is under the Apache License, version 2.0: /usr/share/common-licenses/Apache-2.0 has its text.
Copyright: the accel authors
`;

/** Seconds since 1970 that every file and member has: bytes depend on no clock. */
const EPOCH = 1_767_225_600;

/** Writes the package of an executable for an architecture as Debian names them. */
export function writeDebianPackage(path: string, executable: string, architecture: string, texts: PackageTexts): void {
  const folder = mkdtempSync(join(tmpdir(), 'accel-debian-'));
  try {
    const add = (name: string, content: string | Buffer, mode = 0o644): void => {
      const target = join(folder, name);
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, content);
      chmodSync(target, mode);
    };
    const squeezed = (text: string): Buffer => gzipSync(text, { level: 9 });
    add('usr/share/man/man1/accel.1.gz', squeezed(texts.manual));
    add('usr/share/doc/accel/copyright', `${OWN_LICENSE}\n${texts.copyright}`);
    add('usr/share/doc/accel/changelog.gz', squeezed(CHANGES));
    add('usr/share/doc/accel/NEWS.gz', squeezed(readFileSync('CHANGELOG.md', 'utf8')));
    add('usr/share/doc/accel/accel.ps1', texts.completions.powershell);
    add('usr/share/bash-completion/completions/accel', texts.completions.bash);
    add('usr/share/zsh/vendor-completions/_accel', texts.completions.zsh);
    add('usr/share/fish/vendor_completions.d/accel.fish', texts.completions.fish);
    add('usr/share/lintian/overrides/accel', OVERRIDES);
    mkdirSync(join(folder, 'usr/bin'));
    copyFileSync(executable, join(folder, 'usr/bin/accel'));
    chmodSync(join(folder, 'usr/bin/accel'), 0o755);
    add('DEBIAN/control', control(architecture, statSync(executable).size));
    execFileSync('find', [folder, '-exec', 'touch', '--no-dereference', '--date', `@${EPOCH}`, '{}', '+']);
    execFileSync('find', [folder, '-type', 'd', '-exec', 'chmod', '0755', '{}', '+']);
    execFileSync('dpkg-deb', ['--build', '--root-owner-group', '-Zxz', '-z1', '--threads-max=2', folder, path], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, SOURCE_DATE_EPOCH: String(EPOCH) },
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The libraries are those that the official binaries of Node 24 name; versions as their notes on platforms say. */
function control(architecture: string, size: number): string {
  return `Package: accel
Version: ${VERSION}
Architecture: ${architecture}
Maintainer: ${MAINTAINER}
Installed-Size: ${Math.ceil(size / 1024) + 500}
Depends: libc6 (>= 2.28), libgcc-s1, libstdc++6
Section: utils
Priority: optional
Description: convert container images into images that start early
 accel turns OCI and Docker images into images in the overlaybd (DADI) format,
 whose root file system is loaded while the container runs already. It converts,
 verifies, inspects and exports them, from registries and image layouts on disk.
 .
 The program contains Node.js. Its roles of a server are in a container image.
`;
}

/** Each for its reason. */
const OVERRIDES = `# The binary is that of the Node.js project: with its own copies of zlib and others, and not position-independent.
accel: embedded-library *
accel: hardening-no-pie *
# The licences of Node.js and of what it contains are quoted as they are.
accel: copyright-not-using-common-license-for-gpl
accel: copyright-file-contains-full-apache-2-license
accel: old-fsf-address-in-copyright-file
`;

/** A package without a Debian revision brings its changes in the form of Debian. */
const CHANGES = `accel (${VERSION}) unstable; urgency=medium

  * Release ${VERSION}: see NEWS.gz in this folder.

 -- ${MAINTAINER}  Thu, 01 Jan 2026 00:00:00 +0000
`;
