//! What programs of aos require, typed into a process of our runtime. The results of the crypto modules are those that
//! aos's own tests expect; of big integers and random numbers, those of the libraries that aos carries.

// Clippy takes only the test functions themselves for tests, not what they call.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ao_node::vm::{Env, Launcher, Limits, Message, Outcome, Program, Unit, Worker, runtime};
use ao_protocol::tag::Tag;

/// A line of Lua, and what the console shows.
const LINES: &[(&str, &str)] = &[
    ("crypto = require('.crypto') str = crypto.utils.stream.fromString", ""),
    ("crypto.digest.md2(str('ao')).asHex()", "0d4e80edd07bee6c7965b21b25a9b1ea"),
    ("crypto.digest.md4('abc').asHex()", "a448017aaf21d8525fc10ae87aa6729d"),
    ("crypto.digest.md5(str('ao')).asHex()", "adac5e63f80f8629e9573527b25891d3"),
    ("crypto.digest.sha1(str('abc')).asHex()", "a9993e364706816aba3e25717850c26c9cd0d89d"),
    (
        "crypto.digest.sha2_256({ 97, 98, 99 }).asHex()",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    ),
    ("#crypto.digest.sha2_512('abc').asBytes() .. crypto.digest.sha2_512('abc').asHex():sub(1, 8)", "8ddaf35a1"),
    ("crypto.digest.sha3_256('abc').asHex():sub(1, 16)", "3a985da74fe225b2"),
    ("crypto.digest.keccak256('abc').asHex():sub(1, 16)", "4e03657aea45a94f"),
    ("#crypto.digest.keccak512('').asString() + #crypto.digest.sha3_512('').asHex()", "192"),
    (
        "crypto.digest.blake2b('abc', 16).asHex() .. #crypto.digest.blake2b('abc').asBytes()",
        "cf4ab791c62b8d2b2109c9027528781664",
    ),
    ("key = crypto.utils.array.fromString('super_secret_key')", ""),
    ("crypto.mac.createHmac(str('ao'), key).asHex()", "3966f45acb53f7a1a493bae15afecb1a204fa32d"),
    (
        "crypto.mac.createHmac(str(''), key, 'sha256').asHex()",
        "542da02a324155d688c7689669ff94c6a5f906892aa8eccd7284f210ac66e2a7",
    ),
    ("crypto.mac.hmac('ao', key).asHex()", "766b699f5f323d65e565ddab204370bf405b10ad"),
    ("select(2, pcall(crypto.mac.createHmac, 'ao', key, 'md6')):match('there are.*')", "there are sha1, sha256"),
    (
        "crypto.kdf.pbkdf2(crypto.utils.array.fromString('password'), crypto.utils.array.fromString('salt'), 4, 16).asHex()",
        "C4C21BF2BBF61541408EC2A49C89B9C6",
    ),
    ("aes, k = crypto.cipher.aes, 'super_secret_shh'", ""),
    ("aes.encrypt('ao', k, k, 'CBC', 128).asHex()", "A3B9E6E1FBD9D46930E5F76807C84B8E"),
    ("aes.encrypt('ao', k, '', 'ECB', 128).asHex()", "3FF54BD61AD1AA06BC367A10575CC7C5"),
    ("aes.encrypt('ao', k, k, 'CFB', 128).asHex()", "1DA7169C093D6B23160B6785B28E4BED"),
    ("aes.encrypt('ao', k, k, 'OFB', 128).asHex()", "1DA7169C093D6B23160B6785B28E4BED"),
    ("aes.encrypt('ao', k, k, 'CTR', 128).asHex()", "1DA7169C093D6B23160B6785B28E4BED"),
    ("aes.decrypt('A3B9E6E1FBD9D46930E5F76807C84B8E', k, k, 'CBC', 128).asHex()", "616F0000000000000000000000000000"),
    ("select(2, pcall(aes.encrypt, 'ao', 'short')):match('the key.*')", "the key must have 16 bytes, got 5"),
    ("crypto.cipher.issac.encrypt('ao', 'secret_key').asHex()", "7851"),
    ("crypto.cipher.issac.decrypt('xQ', 'secret_key')", "ao"),
    (
        "crypto.random(1, 6, 'seed') == crypto.random(1, 6, 'seed') and math.type(crypto.random(1, 6)) == 'integer'",
        "true",
    ),
    ("crypto.cipher.morus.encrypt(k, ('0'):rep(16), 'ao', '').asHex()", "514ed31473d8fb0b76c6cbb17af35ed01d0a"),
    (
        "crypto.cipher.morus.decrypt(k, ('0'):rep(16), crypto.utils.hex.hexToString('514ed31473d8fb0b76c6cbb17af35ed01d0a'), 0)",
        "ao",
    ),
    (
        "crypto.cipher.norx.encrypt('super_duper_secret_password_shhh', ('0'):rep(32), 'ao', 'ao', 'ao').asHex()",
        "0bb35a06938e6541eccd4440adb7b46118535f60b09b4adf378807a53df19fc4ea28",
    ),
    (
        "require('.crypto.util.hex').stringToHex('ao') .. require('.crypto.digest.sha1').sha1('').asHex():sub(1, 4)",
        "616fda39",
    ),
    ("require('.crypto.util.bit').bxor(5, 3) .. require('.crypto.init').kdf._version", "60.0.1"),
    ("require('.crypto.mac.hmac').hmac('ao', key).asHex():sub(1, 8)", "3966f45a"),
    ("bint = require('.bint')(256)", ""),
    ("bint('123456789012345678901234567890') * bint('987654321')", "121932631124828532112482853211126352690"),
    (
        "tostring(bint.ipow(2, 200) // 7) .. ' ' .. tostring(bint(-7) // 2) .. ' ' .. tostring(bint(-7) % 2)",
        "229562577751284325077423156048737514646028999111827547900196 -4 1",
    ),
    ("bint('5') == bint(5) and bint('0x10') < bint(17) and require('.bint')() == bint", "true"),
    ("tostring(bint.__le('10', 9))", "false"),
    ("{ bint(3), bint(4) }", "{\n  3,\n  4\n }"),
    (
        "chance = require('.chance') chance.seed(42) return chance.integer(1, 100) .. ' ' .. chance.random()",
        "38 0.79654298420064",
    ),
    ("require('.base64').decode(require('.base64').encode('any carnal pleas'))", "any carnal pleas"),
    ("require('json').encode(require('json').decode('[1,{\"a\":null}]'))", "[1,[]]"),
    ("require('.pretty').tprint({ a = { 1 } })", "a: \n 1: 1\n"),
    (
        "type(require('.stringify').format) .. type(require('.utils').map) .. type(require('ao').send)",
        "functionfunctionfunction",
    ),
    ("require('.ao') == ao and require('.handlers') == Handlers and require('.dump') ~= nil", "true"),
    ("Utils.reduce(function(a, b) return a + b end, 0, Utils.map(function(x) return x * 2 end, { 1, 2, 3 }))", "12"),
    (
        "Utils.reduce(function(a, b) return a * b end, nil, { 2, 3, 4 })
           .. Utils.find(function(x) return x > 1 end)({ a = 1, b = 2 })",
        "242",
    ),
    (
        "Utils.curry(function(a, b, c) return a .. b .. c end)(1)(2)(3)
           .. Utils.compose(tonumber)(function(x) return x .. 0 end)(3)",
        "12330",
    ),
    (
        "for _, f in ipairs({ Utils.map, Utils.filter }) do assert(not pcall(f, print, { a = 1 })) end
         assert(not pcall(Utils.reduce, print, 0, { a = 1 }) and not pcall(Utils.concat, { a = 1 }, {}))
         return pcall(Utils.includes, 1, { a = 1 }) or pcall(Utils.reverse, { a = 1 }) or tostring(Utils.capitalize())",
        "nil",
    ),
    ("Utils.normalize('a__b_-c-') .. Utils.normalize('-Action') .. Utils.normalize(5)", "A--B--C--Action5"),
    (
        "tostring(Utils.matchesSpec({ A = false }, { A = '_' })) .. tostring(Utils.matchesPattern('_'))
           .. tostring(Utils.matchesSpec({}, { A = function() return true end }))",
        "falsetruefalse",
    ),
    ("Handlers.list[1].name .. Handlers.list[4].name", "APM.DownloadResponseAPM.UpdateResponse"),
    (
        "type(json.encode) .. type(base64.encode) .. tostring(require('.apm') == apm) .. type(apm.installed)",
        "functionfunctiontruetable",
    ),
    ("apm.install('@bob/x@1.0.0')", "Download of @bob/x@1.0.0 requested"),
    (
        "local m = ao.outbox.Messages apm.install('x') apm.search('s') apm.info('i') apm.update()
         local said = {} for i = 1, 4 do said[i] = m[i].Tags[5].value .. ' ' .. tostring(m[i].Data) end
         return m[1].Target .. ' ' .. table.concat(said, ' ')",
        "DKF8oXtPvh3q8s0fJFIeHFyHNM6oKrwMCUrPxEMroak APM.Download @apm/x APM.Search s APM.Info i APM.Update nil",
    ),
    (
        "select(2, pcall(apm.install, '@Bob/x')) .. select(2, pcall(apm.install, 'x@1'))",
        "Invalid vendor nameInvalid version",
    ),
    (
        "Handlers.evaluate({ Action = 'APM.DownloadResponse', From = apm.ID, Name = '@apm/one', Version = '1.0.0',
           Data = '72657475726e2031' }, ao.env) return require('one') .. apm.installed['@apm/one']",
        "Downloaded @apm/one@1.0.0\n11.0.0",
    ),
    (
        "Handlers.evaluate({ Action = 'APM.UpdateResponse', From = 'stranger', Data = '78203d2031' }, ao.env)
         return tostring(x)",
        "APM.UpdateResponse - not from the registry: ignored\nnil",
    ),
    ("apm.uninstall('one') .. tostring(package.loaded.one)", "Uninstalled @apm/onenil"),
    ("json.encode({ a = 1, reply = print })", "{\"a\":1}"),
    ("json.encode(json.decode('[1,2,]')) .. json.encode(json.decode('{\"a\":1,}'))", "[1,2]{\"a\":1}"),
    ("math.randomseed(42) return math.random(1, 100) .. ' ' .. math.random()", "38 0.79654298420064"),
    (
        "math.randomseed(42) return require('.chance').integer(1, 100) .. ' ' .. math.type(math.random(1.5, 7.5))",
        "38 integer",
    ),
    ("base64.encode('\\255\\254\\253\\252', base64.makeencoder('-', '_', '.'))", "__79_A.."),
    ("base64.decode('!!79!A.', base64.makedecoder('-', '!', '.')) == '\\255\\254\\253\\252'", "true"),
    (
        "Dump({ 'x', b = true, ['end'] = 1, ['a b'] = { 1.5 } })",
        "{\n    [1] = \"x\",\n    [\"a b\"] = {\n        [1] = 1.5\n    },\n    [\"end\"] = 1,\n    b = true\n}",
    ),
    (
        "Dump({ 'x', { 'y' } }, 0) .. Dump({ 1 }, 1, 2) .. Dump(5)",
        "{ [1] = \"x\", [2] = { [1] = \"y\" } }{\n   [1] = 1\n  }\"5\"",
    ),
    (
        "Dump({ a = 1, b = 2, c = 'd' }, 0, 0, function(v, depth, kind, use, key, extra)
           if v ~= 'b' then return kind == 'string' and use == 'val' and v .. key .. extra or v, true end
         end, '!')",
        "{ a = 1, c = dc! }",
    ),
    (
        "{ a = { b = { c = true } }, d = { { 1 }, true } }",
        "{\n   a = {\n     b = {\n       c = true\n    }\n  },\n   d = {\n    { 1 },\n    true\n   }\n}",
    ),
    (
        "local m = { Tags = { { name = 'X', value = '1' }, { name = 'From', value = 'n' } } }
         local same = tostring(ao.normalize(m) == m)
         return same .. m.X .. tostring(m.From) .. tostring(ao.normalize({ Tags = { X = 1 } }).X)",
        "true1nilnil",
    ),
    (
        "table.insert(ao.nonExtractableTags, 'Kept') table.insert(ao.nonForwardableTags, 'Gone')
         local m = ao.normalize({ Tags = { { name = 'Kept', value = 1 }, { name = 'Gone', value = 2 } } })
         return tostring(m.Kept) .. m.Gone .. tostring(ao.sanitize(m).Gone) .. tostring((ao.registerHint(m)))",
        "nil2nilnil",
    ),
    ("ao.removeAssignable(5) ao.removeAssignable('nobody') return #ao.assignables", "0"),
    (
        "type(require('.assignment').init) .. type(require('.default')(print)) .. type(require('.process').handle)",
        "functionfunctionfunction",
    ),
    (
        "Handlers.add('one', function(m) return m.Action == 'Two' and 1 or 0 end, function()
           Handlers.add('two', 'Two', function() late = 'new' end)
         end)
         Handlers.add('two', 'Two', function() late = 'old' end)
         Handlers.evaluate({ Action = 'Two' }, ao.env) Handlers.remove('one') Handlers.remove('two') return late",
        "new",
    ),
    (
        "Handlers.add('zero', 'Zero', function() end, 0)
         for _ = 1, 3 do Handlers.evaluate({ Action = 'Zero' }, ao.env) end
         return Handlers.list[#Handlers.list].maxRuns",
        "-3",
    ),
    (
        "local mode, list = require('.crypto.cipher.mode.cbc'), crypto.utils.array.fromString
         return mode.Cipher().setKey(list(k)).setBlockCipher(require('.crypto.cipher.aes128'))
           .setPadding(require('.crypto.padding.zero')).init().update(str(k)).update(str('ao')).finish().asHex()",
        "A3B9E6E1FBD9D46930E5F76807C84B8E",
    ),
    (
        "local mode, list = require('.crypto.cipher.mode.ctr'), crypto.utils.array.fromString
         return mode.Decipher().setKey(list(k)).setBlockCipher(require('.crypto.cipher.aes128')).init().update(str(k))
           .update(str(crypto.utils.hex.hexToString('1DA7169C093D6B23160B6785B28E4BED'))).asString():sub(1, 2)",
        "ao",
    ),
    (
        "local w = {} for i = 1, 20 do w[i] = i end require('.crypto.cipher.morus').state_update(w, 1, 2, 3, 4)
         return w[1] .. ' ' .. w[6] .. ' ' .. w[12] .. ' ' .. w[20]",
        "114688 1407374883553280 33779196228534272 1008850296996102496",
    ),
];

/// Messages to a process, as who sends them, their tags (`Name=value`) and data (empty: none); and what is shown, with
/// what is sent, or the error.
const MESSAGES: &[(&str, &[&str], &str, &str)] = &[
    // The process itself. Its number is that of block 1234567, its owner, its module and its id.
    (OWNER, &["Type=Process", "Module=the-module", "On-Boot=Data"], "booted = 1", ""),
    (OWNER, &["Action=Eval"], "booted .. ' ' .. math.random(1000000) .. ' ' .. math.random(1.5, 7.5)", "1 866649 4"),
    (
        OWNER,
        &["Type=Process", "On-Boot=Data", "Id=the-process"],
        "booted = 2",
        "New Message From the...ner: Data = booted = 2",
    ),
    (OWNER, &["Action=Eval"], "return booted .. ao.Nonce", "12"),
    ("friend", &["content_type=application/json"], "{\"a\":[1,2]}", "New Message From fri...end: Data = {\"a\":[1,2]}"),
    ("friend", &["Content-Type=application/json", "Content-Type=x"], "", "New Message From fri...end: Data = []"),
    ("friend", &["a__b=1", "-c=2"], "", "New Message From fri...end: Data = "),
    (
        OWNER,
        &["Action=Eval"],
        "local m = Inbox[#Inbox] return m['A--B'] .. m.Tags['-C'] .. json.encode(m):sub(1, 9)",
        "12{\"-C\":\"2\"",
    ),
    (
        OWNER,
        &["Action=Eval"],
        "ao.send({ Target = 'T', Data = { 1 }, From = 'f', Tags = { ['Content-Type'] = 'x', K = 'v' } })
         ao.send({ Target = 'T', Data = {}, ['Content-Type'] = 'x' })
         ao.spawn('M', { Data = { a = 1 }, From = 'f', K = 'v' })",
        " | T [1] Reference=1 Content-Type=application/json K=v | T [] Reference=2 Content-Type=application/json \
         | {\"a\":1} From-Process=the-process From-Module=the-module Module=M Reference=3 \
         Content-Type=application/json K=v",
    ),
    (OWNER, &["Action=Eval"], "Handlers.add('Pass', function(m) m.forward('other', { Extra = m.Data.b }) end)", "7"),
    (
        "friend",
        &["Action=Pass", "Content-Type=application/json", "Reference=4"],
        "{\"b\":\"c\"}",
        " | other {\"b\":\"c\"} Reference=4 Content-Type=application/json Action=Pass Extra=c Reply-To=friend \
         X-Origin=friend X-Reference=4",
    ),
    (OWNER, &["Action=Eval"], "Handlers.add('Fail', function() print('so far') error('oops') end)", "8"),
    (
        "friend",
        &["Action=Fail"],
        "",
        "so far\nError handling message with Action = Fail\n[string \"aos\"]:1: oops\n\nstack traceback:…\n\nerror:\n\
         [string \"aos\"]:1: oops",
    ),
    (OWNER, &["Action=Eval"], "Handlers.remove('_eval') Handlers.add('_default', 'Never', print, 1)", ""),
    (OWNER, &["Action=Eval"], "Owner = nil", ""),
    (OWNER, &["Action=Eval"], "Owner = 'thief'", "New Message From the...ner: Action = Eval"),
    ("friend", &[], "still here", "New Message From fri...end: Data = still here"),
];

const OWNER: &str = "the-owner";

fn without_colours(text: &str) -> String {
    let mut shown = text.to_string();
    while let Some(start) = shown.find('\u{1b}') {
        let end = start + shown[start..].find('m').unwrap();
        shown.replace_range(start..=end, "");
    }
    shown
}

async fn start(env: Env) -> Worker {
    let limits = Limits { memory_bytes: 64 << 20, instructions: 100_000_000 };
    let program = Program { source: runtime::source(), env, limits };
    Worker::start(&Launcher::new(env!("CARGO_BIN_EXE_ao-node")), &program).await.unwrap()
}

#[tokio::test]
async fn every_library_gives_what_programs_expect() {
    let mut worker = start(Env::default()).await;
    let mut wrong = Vec::new();
    for (slot, (line, expected)) in (0..).zip(LINES) {
        let message = Message {
            id: Some("the-message".into()),
            data: Some(line.as_bytes().to_vec()),
            tags: vec![Tag::new("Action", "Eval")],
            timestamp: 1_700_000_000_000,
            ..Message::default()
        };
        let outcome = worker.apply(slot, &[message]).await.unwrap().remove(0);
        let output: serde_json::Value = serde_json::from_str(&outcome.output).unwrap_or_default();
        let shown = without_colours(output["data"].as_str().unwrap_or_default());
        if outcome.error.is_some() || shown != *expected {
            wrong.push(format!("{line}: {shown:?} {:?}, not {expected:?}", outcome.error));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What a message came to, in a form to compare. Tags that all messages have are left out, and where an error was.
fn told(outcome: &Outcome) -> String {
    if let Some(error) = &outcome.error {
        let error = without_colours(error);
        let (start, end) = (error.find("traceback:").unwrap() + "traceback:".len(), error.rfind("\n\nerror:").unwrap());
        return format!("{}…{}", &error[..start], &error[end..]);
    }
    let output: serde_json::Value = serde_json::from_str(&outcome.output).unwrap();
    let mut told = without_colours(output["data"].as_str().unwrap());
    for entry in outcome.messages.iter().chain(&outcome.spawns) {
        let fields: serde_json::Value = serde_json::from_str(&entry.fields).unwrap();
        let target = fields["Target"].as_str().map_or(String::new(), |target| format!(" {target}"));
        let data = String::from_utf8_lossy(entry.data.as_deref().unwrap_or_default());
        told.push_str(&format!(" |{target} {data}"));
        for tag in fields["Tags"].as_array().unwrap() {
            let name = tag["name"].as_str().unwrap();
            if !["Data-Protocol", "Variant", "Type"].contains(&name) {
                told.push_str(&format!(" {name}={}", tag["value"].as_str().unwrap()));
            }
        }
    }
    told
}

#[tokio::test]
async fn messages_are_handled_as_in_aos() {
    let unit = |id: &str| Unit { id: id.into(), owner: OWNER.into(), tags: vec![Tag::new("Module", "the-module")] };
    let mut worker = start(Env { process: unit("the-process"), module: unit("the-module") }).await;
    let mut wrong = Vec::new();
    for (slot, (from, tags, data, expected)) in (0..).zip(MESSAGES) {
        let message = Message {
            id: Some(if slot == 0 { "the-process" } else { "the-message" }.into()),
            data: (!data.is_empty()).then(|| data.as_bytes().to_vec()),
            owner: (*from).into(),
            target: "the-process".into(),
            from: (*from).into(),
            tags: tags.iter().filter_map(|tag| tag.split_once('=')).map(|(name, text)| Tag::new(name, text)).collect(),
            nonce: Some(slot),
            timestamp: 1_700_000_000_000,
            block_height: 1_234_567,
            ..Message::default()
        };
        let told = told(&worker.apply(slot, &[message]).await.unwrap().remove(0));
        if told != *expected {
            wrong.push(format!("{from} {tags:?} {data}: {told:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
