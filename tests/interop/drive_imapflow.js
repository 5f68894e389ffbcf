// Calls of imapflow: see remote.py. The argument is the options of ImapFlow as JSON; their "ca" is
// a file. "events" gives what it heard since the last question.
const fs = require('fs');
const readline = require('readline');
const { ImapFlow } = require('imapflow');

const options = JSON.parse(process.argv[2]);
const ca = fs.readFileSync(options.ca);
const client = new ImapFlow(Object.assign(options, { logger: false, tls: { ca } }));
let heard = [];
for (const name of ['exists', 'expunge', 'flags']) {
    client.on(name, event => heard.push([name, event]));
}
client.on('error', error => heard.push(['error', String(error)]));

function plain(key, value) {
    if (typeof value === 'bigint') return Number(value);
    if (value instanceof Map) return Object.fromEntries(value);
    if (value instanceof Set) return [...value].sort();
    // Buffer.toJSON comes before the replacer
    if (value && value.type === 'Buffer') return Buffer.from(value.data).toString('latin1');
    return value;
}

async function call(method, ...words) {
    if (method === 'events') {
        const events = heard;
        heard = [];
        return events;
    }
    if (method === 'append') words[1] = Buffer.from(words[1], 'latin1');
    if (method === 'startIdle') {
        client.idle();  // the next call ends it
        return true;
    }
    const result = await client[method](...words);
    return result === undefined ? null : result;
}

async function run() {
    await client.connect();
    for await (const line of readline.createInterface({ input: process.stdin })) {
        let result;
        try {
            result = await call(...JSON.parse(line));
        } catch (error) {
            result = { error: String(error.stack) + (error.response ? error.responseText : '') };
        }
        process.stdout.write(JSON.stringify(result, plain) + '\n');
    }
    await client.logout();
}

run().then(() => process.exit(0), error => { console.error(error); process.exit(1); });
