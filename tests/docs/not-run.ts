/**
 * The commands of the documentation that its test does not run, each with the reason: all others are run unchanged. The
 * test fails when an entry matches nothing any more.
 */
export interface Exception {
  /** Matches whole lines of a block. */
  readonly line: RegExp;
  readonly why: string;
}

/** See the module's comment. */
export const NOT_RUN: readonly Exception[] = [
  {
    line: /^npm ci( && npm (run demo|run demo:lazy|run demo:agent|run demo:serve|test))?$/,
    why: 'this very test is part of it; .ci/run runs both',
  },
  {
    line: /^(npm run package\b|sha256sum --check|tar -xzf accel-|accel-[\d.]+-linux|apt install \.\/accel_)/,
    why: 'files of a release; tests/e2e/standalone.test.ts makes them, runs and installs them',
  },
  { line: /^npm test\b/, why: 'this very test is part of it' },
  { line: /^(npm run check|\.ci\/run)\b/, why: 'the gate, of which .ci/run runs every part' },
  { line: /^(strace|fatrace) /, why: 'traces a program of the reader; what strace saw lies in the folder of the test' },
  { line: /^sudo (modprobe nbd|nbd-client)\b/, why: 'needs a kernel with nbd, which a container does not have' },
  {
    line: /^(sudo )?(nbdfuse|fuse2fs|fusermount3|nbdinfo|qemu-img|umount|mount|mkdir -p \/run\/app)\b/,
    why: 'a client of a server that is running: tests/e2e/nbd.test.ts does the same with free ports and its own folders',
  },
  {
    line: /^(sudo npm install -g accel-image accel-image-server|(sudo )?accel (agent|serve|prefetch warm) |sudo (ctr|systemctl|useradd|install|chown|cp) |sudo -u postgres |\(umask 077 |pg_(dump|restore) |curl .*127\.0\.0\.1:(65003|8686))/,
    why: 'nodes with containerd and Node 24, and services that run; tests below server/ and the lab run them',
  },
  {
    line: /^((helm|kubectl|buildah) | {2}--set )/,
    why: 'a cluster and a registry of the reader; server/cluster/chart-install.test.ts and tests/e2e/container-image.test.ts do the same',
  },
  { line: /^xargs -n 1 cosign /, why: 'a key of the reader; tests/e2e/referrers.test.ts runs these lines with cosign' },
  { line: /^accel completion powershell /, why: 'a line of PowerShell' },
  { line: /^ls (\/mnt|~\/root)$/, why: 'looks into what was mounted' },
  {
    line: /^((sudo )?npm run (--silent )?(fuzz|build|build:wasm|build:action|docs|sbom|lab|lab:faults|soak|simulate|bench:cluster-chaos)\b|npx vitest|ACCEL_\w+=.*|node dist\/)/,
    why: 'work in a clone of the repository, started by hand',
  },
];

/** Parts of a line that are taken out before it is run. */
export const TAKEN_OUT: readonly Exception[] = [
  { line: / && sudo mount -o loop,ro,noload app\.img \/mnt$/, why: 'mounting, as above' },
];
