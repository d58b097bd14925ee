// A Matrix client in a process of its own, led by lines of JSON on standard input.
// It tells on standard output what it reads, and what a client would show beside it:
// "shield" is 0 for none, 1 for grey and 2 for red, as first drawn: it is not drawn anew.

import readline from "node:readline";

// matrix-js-sdk 43 wants a newer node than Debian's.
Promise.withResolvers ??= function () {
    let resolve, reject;
    const promise = new Promise((yes, no) => ([resolve, reject] = [yes, no]));
    return { promise, resolve, reject };
};
for (const name of ["log", "info", "debug", "warn", "error", "trace"]) {
    console[name] = (...words) => process.stderr.write(words.join(" ") + "\n");
}
const sdk = await import("matrix-js-sdk");
const { logger } = await import("matrix-js-sdk/lib/logger.js");
logger.setLevel("error");

const tell = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const told = new Set();
let client;

async function start({ url, user, token, device, strict, slow }) {
    // Homeservers take their time to tell whose devices there are.
    const fetchFn = async (to, how) => {
        if (String(to).includes("/keys/query")) await new Promise((done) => setTimeout(done, slow));
        return await fetch(to, how);
    };
    client = sdk.createClient({
        fetchFn,
        baseUrl: url, userId: user, accessToken: token, deviceId: device,
        cryptoCallbacks: { getSecretStorageKey: async () => null },
    });
    await client.initRustCrypto({ useIndexedDB: false });
    const crypto = client.getCrypto();
    if (strict) {
        const { OnlySignedDevicesIsolationMode } = await import("matrix-js-sdk/lib/crypto-api/index.js");
        crypto.setDeviceIsolationMode(new OnlySignedDevicesIsolationMode());
    }
    await crypto.bootstrapCrossSigning({
        authUploadDeviceSigningKeys: async (make) => await make(null),
    });
    client.on("event", read);
    client.on("Event.decrypted", read);
    // Not before all of the invitation is known: it would undo a join that overtakes it.
    client.on("Room.myMembership", (room, membership) => {
        if (membership !== "invite") return;
        tell({ kind: "invite", room: room.roomId, sender: room.getMember(user).events.member.getSender() });
    });
    await client.startClient({ initialSyncLimit: 50 });
    await new Promise((done) => client.once("sync", done));
}

async function read(event) {
    if (event.getSender() === client.getUserId() || event.isState()) return;
    if (event.isBeingDecrypted() || event.shouldAttemptDecryption()) {
        await event.attemptDecryption(client.getCrypto(), { isRetry: false }).catch(() => {});
    }
    if (event.isDecryptionFailure()) {
        const why = String(event.decryptionFailureReason);
        tell({ kind: "failure", room: event.getRoomId(), sender: event.getSender(), id: event.getId(), words: why });
        return;
    }
    if (event.getType() !== "m.room.message" || told.has(event.getId())) return;
    told.add(event.getId());
    const secret = event.isEncrypted();
    const info = secret ? await client.getCrypto().getEncryptionInfoForEvent(event) : null;
    tell({
        kind: "message", room: event.getRoomId(), sender: event.getSender(), id: event.getId(),
        words: event.getContent().body, secret, shield: info?.shieldColour ?? 0, why: info?.shieldReason ?? null,
    });
}

const [READY, CANCELLED] = [3, 5]; // phases of a verification
const SEALED = [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }];

async function until(there) {
    while (!there()) await new Promise((done) => setTimeout(done, 50));
}

const commands = {
    start,
    async create({ invite, direct, alias }) {
        const { room_id: room } = await client.createRoom({
            preset: alias ? "public_chat" : "trusted_private_chat", invite: invite ?? [], is_direct: !!direct,
            initial_state: SEALED, ...(alias ? { room_alias_name: alias } : {}),
        });
        // Element waits, too, until it knows the room as it will be.
        const known = (type) => client.getRoom(room)?.currentState.getStateEvents(type, "");
        await until(() => known("m.room.encryption") && known("m.room.history_visibility"));
        await until(() => (invite ?? []).every((who) => client.getRoom(room).getMember(who)));
        return room;
    },
    async join({ room }) {
        await client.joinRoom(room);
        await until(() => client.getRoom(room)?.getMyMembership() === "join");
        await until(() => client.getRoom(room).currentState.getStateEvents("m.room.create", ""));
    },
    async sees({ room, user }) {
        await until(() => client.getRoom(room)?.getMember(user)?.membership === "join");
    },
    async say({ room, words }) {
        const { event_id: id } = await client.sendMessage(room, { msgtype: "m.text", body: words });
        return id;
    },
    async turn({ room }) {
        await client.getCrypto().forceDiscardSession(room);
    },
    // Verifies somebody in a room by a short code, which the person accepts unseen.
    async verify({ room, user }) {
        const crypto = client.getCrypto();
        const request = await crypto.requestVerificationDM(user, room);
        const turns = (there) => new Promise((done, failed) => {
            const look = () => {
                if (request.phase === CANCELLED) failed(new Error("cancelled"));
                else if (there()) done();
            };
            request.on("change", look);
            look();
        });
        await turns(() => request.phase >= READY);
        const verifier = await request.startVerification("m.sas.v1");
        let shown;
        verifier.on("show_sas", async (one) => {
            shown = one.sas;
            await one.confirm();
        });
        await verifier.verify();
        // It is signed now; the homeserver tells so when it is asked again.
        const verified = async () => (await crypto.getUserVerificationStatus(user)).isCrossSigningVerified();
        while (!(await verified())) await new Promise((done) => setTimeout(done, 50));
        return shown;
    },
    async lookup({ jid }) {
        const path = `/thirdparty/user/xmpp?jid=${encodeURIComponent(jid)}`;
        return await client.http.authedRequest("GET", path, undefined, undefined, { prefix: "/_matrix/client/v3" });
    },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
    const { id, command, ...said } = JSON.parse(line);
    commands[command](said).then(
        (answer) => tell({ kind: "answer", id, answer: answer ?? null }),
        (error) => tell({ kind: "answer", id, error: String(error) }),
    );
}
process.exit(0);
