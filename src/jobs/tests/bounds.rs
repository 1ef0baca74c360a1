//! The table stays within its bounds, whatever comes.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_million_jobs_through_a_cap_of_two_leave_nothing_behind() {
    let (table, pool) = (jobs(spec()), Pool::default());
    let mut most = [0; 3];
    for number in 0..500_000_u32 {
        let ids = [format!("a{number}"), format!("b{number}")];
        for id in &ids {
            table.start(id, start(ALICE), pool.permit());
        }
        assert_eq!(pool.held(), 2);
        match number % 4 {
            0 => ids.iter().for_each(|id| assert!(table.release(id))),
            1 => ids
                .iter()
                .for_each(|id| assert_eq!(table.polled(&pool, id, ALICE, Reading::Gone), Standing::Unknown)),
            _ => ids
                .iter()
                .for_each(|id| assert_eq!(table.polled(&pool, id, BOB, Reading::Final), Standing::Final)),
        }
        if number % 1000 == 0 {
            advance(seconds(1)).await;
        }
        if number % 50 != 0 {
            continue;
        }
        for (most, size) in most.iter_mut().zip(table.table.lock().sizes()) {
            *most = size.max(*most);
        }
    }
    assert_eq!((pool.held(), pool.given_back.load(Ordering::Relaxed)), (0, 1_000_000));
    assert!(most[0] <= 10_004 && most[1] <= 2 && most[2] <= 10_002, "{most:?}");
    advance(seconds(1300)).await;
    table.start("last", start(ALICE), pool.permit());
    assert!(table.release("last"));
    assert_eq!(table.table.lock().sizes(), [1, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn invented_jobs_fill_the_table_to_its_bound_and_not_beyond() {
    let (table, pool) = (jobs(spec()), Pool::default());
    for number in 0..70_000 {
        table.polled(&pool, &number.to_string(), BOB, running());
    }
    assert_eq!(
        (pool.held(), table.active(), table.figures.overflowed.value()),
        (65_536, 65_536, 70_000 - 65_536)
    );
}
