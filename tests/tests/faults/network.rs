//! A network that loses and delays packets and is cut in two: each side serves what it can, and after healing all logs
//! are equal and every message has arrived once. Hosts are network namespaces; see [`ao_tests::lab`].

use std::ops::Range;

use ao_tests::lab::{self, Faults, Host, Hub};
use ao_tests::nodes::{Setup, TestNode, User, wait_for_async};

use super::{says, send, spawn, until_says};

/// Which part of the packets is lost.
const LOSS: f64 = 0.02;
/// How long they take, in milliseconds.
const DELAY_MS: Range<u64> = 5..40;
/// Messages between the processes in each phase.
const MESSAGES: usize = 10;

/// One side: a node with all roles, so that it can go on alone.
fn node(host: &Host, join: Option<&str>) -> TestNode {
    let setup = Setup { within: host.within(), host: Some(host.address.clone()), ..Setup::default() };
    TestNode::start_in("mu,su,cu", join, &["--http-rate", "0"], setup)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_and_lossy_network_heals() {
    if !lab::enter("network::a_cut_and_lossy_network_heals") {
        return;
    }
    let hub = Hub::default();
    let hosts: Vec<Host> = (2..5).map(|number| Host::new(&hub, number)).collect();
    hub.set(Faults { loss: LOSS, delay_ms: DELAY_MS, cut_off: Vec::new() });
    let one = node(&hosts[0], None);
    let join = Some(one.multiaddr.as_str());
    let (two, three) = (node(&hosts[1], join), node(&hosts[2], join));
    let nodes = [&one, &two, &three];
    let user = User::default();
    let authority = nodes.map(|node| node.address.clone()).join(",");
    // Each side has a process of its own.
    let (neo, trinity) = (spawn(&user, &one, &one, &authority).await, spawn(&user, &two, &two, &authority).await);
    let counting = "Got = {} Handlers.add('Ping', 'Ping', function(msg) table.insert(Got, msg.Data) end)";
    send(&one, &user, &neo, counting).await;
    send(&two, &user, &trinity, counting).await;
    let ping = |target: &str, n: usize| format!("Send({{ Target = '{target}', Action = 'Ping', Data = '{n}' }})");
    for n in 0..MESSAGES {
        send(&one, &user, &neo, &ping(&trinity, n)).await;
    }
    until_says(&two, &user, &trinity, "#Got", &MESSAGES.to_string()).await;

    hub.set(Faults { loss: LOSS, delay_ms: DELAY_MS, cut_off: vec![2] });
    wait_for_async("the first side is alone", async || {
        let (_, peers) = one.get("/ao/peers").await.ok()?;
        (peers["connected"] == 0).then_some(())
    })
    .await;
    // Both sides go on with what they schedule, and what they send each other waits.
    for n in MESSAGES..2 * MESSAGES {
        send(&one, &user, &neo, &ping(&trinity, n)).await;
        send(&two, &user, &trinity, &ping(&neo, n)).await;
    }
    assert_eq!(says(&one, &user, &neo, "#Got").await, "0");
    assert_eq!(says(&three, &user, &trinity, "#Got").await, MESSAGES.to_string());
    let lost = user.eval(&neo, "return 1");
    let (status, answer) = three.post("/mu", lost.bytes().to_vec()).await.unwrap();
    assert_eq!(status, 502, "the other side's scheduler can't be reached, and it says so: {answer}");

    hub.set(Faults { loss: LOSS, delay_ms: DELAY_MS, cut_off: Vec::new() });
    until_says(&two, &user, &trinity, "#Got", &(2 * MESSAGES).to_string()).await;
    until_says(&three, &user, &neo, "#Got", &MESSAGES.to_string()).await;
    let in_order: Vec<String> = (0..2 * MESSAGES).map(|n| n.to_string()).collect();
    assert_eq!(says(&one, &user, &trinity, "table.concat(Got, ' ')").await, in_order.join(" "), "once, and in order");
    for process in [&neo, &trinity] {
        wait_for_async("all logs are equal", async || {
            let slots = one.slots(process).await.ok()?;
            (two.slots(process).await.ok()? == slots && three.slots(process).await.ok()? == slots).then_some(())
        })
        .await;
    }
}
