//! Nodes that stop in the middle and go on much later, as a laptop does: the messenger on duty is replaced, and when it
//! comes back nothing happens twice.

use std::time::Duration;

use ao_tests::nodes::{TestNode, User, wait_for_async};

use super::{send, spawn, until_says};

/// Messages that are under way when the messenger stops.
const MESSAGES: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_messenger_is_replaced_and_comes_back_to_no_harm() {
    let scheduler = TestNode::start("su", None);
    let join = Some(scheduler.multiaddr.as_str());
    let (first, second) = (TestNode::start("mu", join), TestNode::start("mu", join));
    let computer = TestNode::start("cu", join);
    let user = User::default();
    let authority = format!("{},{}", first.address, second.address);
    let (neo, trinity) =
        (spawn(&user, &first, &scheduler, &authority).await, spawn(&user, &first, &scheduler, &authority).await);
    send(&second, &user, &trinity, "Got = 0 Handlers.add('Ping', 'Ping', function(msg) Got = Got + 1 end)").await;
    let lua = format!("Send({{ Target = '{trinity}', Action = 'Ping' }})");
    // Nothing is computed while they are sent, so that the messenger on duty has delivered none when it stops.
    computer.signal("STOP");
    for _ in 0..MESSAGES {
        send(&first, &user, &neo, &lua).await;
    }
    first.signal("STOP");
    computer.signal("CONT");
    let expected = MESSAGES.to_string();
    until_says(&second, &user, &trinity, "Got", &expected).await;

    // The scheduler and the compute unit stop, too, all go on, and the first has missed everything.
    scheduler.signal("STOP");
    computer.signal("STOP");
    tokio::time::sleep(Duration::from_secs(3)).await;
    for node in [&scheduler, &computer, &first] {
        node.signal("CONT");
    }
    send(&first, &user, &neo, &lua).await;
    until_says(&second, &user, &trinity, "Got", &(MESSAGES + 1).to_string()).await;
    let neo_slots = scheduler.slots(&neo).await.unwrap().len();
    wait_for_async("all logs are equal", async || {
        let slots = scheduler.slots(&trinity).await.ok()?;
        for node in [&first, &second, &computer] {
            if node.slots(&trinity).await.ok()? != slots {
                return None;
            }
        }
        Some(())
    })
    .await;
    // Nobody has anything left to do, and still it is no more.
    wait_for_async("nothing is pending", async || {
        for slot in 0..neo_slots {
            for node in [&first, &second] {
                let (_, deliveries) = node.get(&format!("/ao/deliveries/{neo}/{slot}")).await.ok()?;
                if deliveries.as_array()?.iter().any(|delivery| delivery["state"] == "pending") {
                    return None;
                }
            }
        }
        Some(())
    })
    .await;
    until_says(&first, &user, &trinity, "Got", &(MESSAGES + 1).to_string()).await;
}
