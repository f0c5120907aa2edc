// Timers, promises and files: writes a file, reads it back, and rejects at the
// end without a handler (exit code 1).
'use strict';
const fs = require('fs');
const os = require('os');
const path = require('path');

async function main() {
  const dir = await fs.promises.mkdtemp(path.join(os.tmpdir(), 'timers-'));
  const file = path.join(dir, 'log');
  const ticks = [];
  await Promise.all([5, 1, 3].map((ms) => new Promise((done) => {
    setTimeout(() => {
      ticks.push(ms);
      fs.appendFileSync(file, `${ms}\n`);
      done();
    }, ms);
  })));
  console.log(ticks.join(' '), fs.readFileSync(file, 'utf8').split('\n').length, Math.random(), Date.now());
  await fs.promises.rm(dir, { recursive: true });
  throw new Error('no handler for this');
}

main();
