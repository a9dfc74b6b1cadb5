//! A network of five: every role apart, joined by one multiaddr, each role killed and started again.

use ao_tests::nodes::{TestNode, User, wait_for_async};

/// Waits until a node sees so many others.
async fn sees(node: &TestNode, units: usize) {
    wait_for_async(&format!("{} sees {units} others", node.url), async || {
        let (_, peers) = node.get("/ao/peers").await.ok()?;
        (peers["units"].as_array()?.len() >= units).then_some(())
    })
    .await
}

/// A line typed again and again until a node answers as expected: what another process sends takes a moment.
async fn until(user: &User, send: &TestNode, read: &TestNode, process: &str, lua: &str, expected: &str) {
    wait_for_async(&format!("{lua} gives {expected:?}"), async || {
        let found = user.type_in(send, read, process, lua).await.ok()?;
        found.contains(expected).then_some(())
    })
    .await
}

/// The outcome chain of a slot, waited for.
async fn chain(node: &TestNode, process: &str, slot: u64) -> String {
    wait_for_async(&format!("{} has the outcome of slot {slot}", node.url), async || {
        let (_, slot) = node.get(&format!("/ao/slots/{process}/{slot}")).await.ok()?;
        slot["outcome_chain"].as_str().map(str::to_string)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_nodes_with_a_role_each_act_as_one() {
    let mut scheduler = TestNode::start("su", None);
    let join = scheduler.multiaddr.clone();
    let mut messenger = TestNode::start("mu", Some(&join));
    let mut compute = [TestNode::start("cu", Some(&join)), TestNode::start("cu", Some(&join))];
    let gateway = TestNode::start("none", Some(&join));
    for node in [&scheduler, &messenger, &compute[0], &compute[1], &gateway] {
        sees(node, 4).await;
    }

    let user = User::default();
    let neo = user.spawn(&messenger, &scheduler.address, &messenger.address).await.unwrap();
    let trinity = user.spawn(&gateway, &scheduler.address, &messenger.address).await.unwrap();
    assert_eq!(user.type_in(&messenger, &gateway, &neo, "x = 42").await.unwrap(), "");
    assert!(user.type_in(&gateway, &compute[1], &neo, "x").await.unwrap().contains("42"));
    let hello = format!("Send({{ Target = '{trinity}', Data = 'Hi Trinity' }})");
    user.type_in(&messenger, &compute[0], &neo, &hello).await.unwrap();
    until(&user, &messenger, &gateway, &trinity, "Inbox[#Inbox].Data", "Hi Trinity").await;

    // Each role is killed and comes back; what was there is there.
    compute[0].restart();
    messenger.restart();
    scheduler.restart();
    sees(&scheduler, 4).await;
    sees(&messenger, 4).await;
    assert!(user.type_in(&messenger, &compute[0], &neo, "x").await.unwrap().contains("42"));
    let reply = "Handlers.add('ping', Handlers.utils.hasMatchingTag('Action', 'Ping'), \
                 function (msg) msg.reply({ Data = 'pong' }) end)";
    user.type_in(&messenger, &gateway, &trinity, reply).await.unwrap();
    let ping = format!("Send({{ Target = '{trinity}', Action = 'Ping' }})");
    user.type_in(&messenger, &gateway, &neo, &ping).await.unwrap();
    until(&user, &messenger, &gateway, &neo, "Inbox[#Inbox].Data", "pong").await;

    // A late joiner computes the same, slot by slot.
    let late = TestNode::start("cu", Some(&messenger.multiaddr));
    let (_, log) = scheduler.get(&format!("/su/{neo}?from-nonce=-1&limit=1000")).await.unwrap();
    let slots = log["edges"].as_array().unwrap().len() as u64;
    assert!(slots > 5);
    for slot in 0..slots {
        let chains =
            [chain(&late, &neo, slot).await, chain(&compute[0], &neo, slot).await, chain(&gateway, &neo, slot).await];
        assert!(chains.iter().all(|chain| *chain == chains[0]), "slot {slot}: {chains:?}");
    }
}
