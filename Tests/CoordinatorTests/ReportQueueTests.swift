import Arbitration
import ClaimStore
import Services
import Testing

@testable import Coordinator

/// What hosts report while others arrive.
@Suite(.timeLimit(.minutes(1))) struct ReportQueueTests {
  private let arbiter: DurableArbiter
  private let arrivals = Arrivals()
  private let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
    arbiter = try DurableArbiter(
      store: SQLiteStore(path: directory.file("claims.sqlite")), settings: ArbiterSettings(), now: SystemClock.now,
      logger: quiet)
  }

  private func queue(patience: Duration) -> ReportQueue {
    ReportQueue(arbiter: arbiter, arrivals: arrivals, patience: patience)
  }

  /// The session of a host that has said hello.
  private func session() -> SessionID {
    let (session, _) = arbiter.openSession()
    arbiter.begin(session, AgentHello { $0.host = FakeAgent.withCard.host })
    return session
  }

  private var inventory: InventoryReport {
    InventoryReport {
      $0.plugins = FakeAgent.withCard.plugins
      $0.endNodes = FakeAgent.withCard.endNodes.map { card in
        var card = card
        card.roots[0].host = FakeAgent.withCard.host.name
        card.physicalFunction = PhysicalFunction { $0.controllingHost = FakeAgent.withCard.host.name }
        return card
      }
    }
  }

  private var isTaken: Bool { !arbiter.read(\.listedEndNodes).isEmpty }

  private func isTakenInTheEnd() async {
    while !isTaken { await Task.yield() }
  }

  @Test func isTakenAtOnceWhenNobodyDoes() async throws {
    let session = session()
    try queue(patience: .seconds(600)).submit(.inventoryReported(session, inventory), of: session)
    #expect(isTaken)
    await arbiter.stop()
  }

  @Test func waitsAndIsTakenWhenTheyHaveArrived() async throws {
    let session = session()
    arrivals.begin()
    try queue(patience: .seconds(600)).submit(.inventoryReported(session, inventory), of: session)
    #expect(!isTaken)
    // A lease is renewed meanwhile.
    arbiter.heartbeat(session, Heartbeat())
    arrivals.end()
    await isTakenInTheEnd()
    await arbiter.stop()
  }

  @Test func isNotKeptByThoseWhoNeverGoOn() async throws {
    let session = session()
    arrivals.begin()
    try queue(patience: .zero).submit(.inventoryReported(session, inventory), of: session)
    await isTakenInTheEnd()
    #expect(arrivals.count == 1)
    await arbiter.stop()
  }

  @Test func isNotTakenFromAHostThatSaysMuchTooMuch() async throws {
    let session = session()
    let queue = queue(patience: .seconds(600))
    arrivals.begin()
    for _ in 0..<ReportQueue.capacity { try queue.submit(.inventoryReported(session, inventory), of: session) }
    #expect { try queue.submit(.inventoryReported(session, inventory), of: session) } throws: {
      ($0 as? RPCError)?.code == .resourceExhausted
    }
    // Others are none the worse for it.
    let other = arbiter.openSession().id
    try queue.submit(.inventoryReported(other, inventory), of: other)
    arrivals.end()
    await isTakenInTheEnd()
    await arbiter.stop()
  }
}
