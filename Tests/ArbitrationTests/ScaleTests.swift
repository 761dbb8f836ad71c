import Messages
import Testing

@testable import Arbitration
@testable import Simulation

@Suite struct ScaleTests {
  /// A decision looks at the end nodes of one class, so that it must not matter how many claims there are already.
  @Test func theThousandthClaimIsGrantedLikeTheFirst() {
    var world = World()
    for number in 0..<20 {
      var host = FakeHost("host-\(number)", address: "10.0.0.\(number + 1)")
      host.plugins = [ethernetPlugin()]
      host.endNodes = [card("ethernet/\(number)", functions: 100)]
      world.add(host)
    }
    for number in 0..<1000 { world.create("claim-\(number)", host: "host-\(number % 20)") }
    let nodes = world.arbiter.listedEndNodes
    #expect(nodes.reduce(0) { $0 + ($1.used?.functions ?? 0) } == 1000)
    #expect(nodes.allSatisfy { $0.used?.functions == 50 })
    #expect(world.arbiter.listedClaims.allSatisfy { $0.status?.assignment?.path == .directSoftware })
  }

  private func busyRack(waiting count: Int) -> World {
    var world = World.rack()
    world.hosts["a"]?.endNodes = [card("ethernet/52:54:00:00:00:01", functions: 1)]
    world.reportInventory("a")
    world.create("holder", host: "a")
    world.settle()
    for number in 0..<count { world.create("claim-\(number)", host: "b") }
    return world
  }

  @Test func aReleaseGrantsToTheOldestAndLeavesTheOthersAlone() {
    var world = busyRack(waiting: 200)
    let before = world.watched.count
    world.delete("holder")
    world.settle()
    #expect(world.phase("claim-0") == .ready)
    let changed = world.watched[before...].map { effect in
      switch effect {
      case .claimChanged(let claim), .claimGone(let claim): claim.name
      default: ""
      }
    }
    #expect(Set(changed) == ["holder", "claim-0"])
  }

  @Test func manyThatWaitSayWhyLittleByLittle() {
    var world = busyRack(waiting: 200)
    world.disconnect("b")
    for _ in 0..<4 { world.wait(milliseconds: 250) }
    let reasons = world.arbiter.listedClaims.compactMap { $0.status?.pending.first?.filter }
    #expect(reasons.count == 200)
    #expect(Set(reasons) == ["host"])
  }

  /// In the event itself not all are looked at.
  @Test func whoWaitsBehindManyOthersGetsWhatAHostBringsBack() {
    var world = World()
    for number in 10..<50 {
      var host = FakeHost("host-\(number)", address: "10.0.0.\(number)")
      host.plugins = [ethernetPlugin()]
      host.endNodes = [card("ethernet/\(number)", functions: 4)]
      if number == 30 { host.endNodes[0].labels = ["shelf": "here"] }
      world.add(host)
    }
    world.disconnect("host-30")
    // Each asks for something else, so that nothing is known from those before it.
    for (name, shelf) in (0..<300).map({ ("claim-\($0)", "\($0)") }) + [("last", "here")] {
      world.create(name, host: "") {
        $0.hostSelector = "name != 'nobody'"
        $0.selector = "label.shelf == '\(shelf)'"
      }
    }
    #expect(world.phase("last") == .pending)
    world.connect("host-30")
    for _ in 0..<8 { world.wait(milliseconds: 250) }
    world.settle()
    #expect(world.phase("last") == .ready)
    #expect(world.arbiter.listedClaims.filter { $0.status?.phase == .pending }.count == 300)
  }

  /// One that nobody can help does not have those behind it served in another order.
  @Test func whoWaitsBehindManyOthersIsServedByShare() {
    var world = World()
    for tenant in ["a-has-much", "b-has-less", "c-has-nothing"] { world.createTenant(tenant) }
    for number in 10..<50 {
      var host = FakeHost("host-\(number)", address: "10.0.0.\(number)")
      host.plugins = [ethernetPlugin()]
      host.endNodes = [card("ethernet/\(number)", functions: number == 30 ? 1 : 4)]
      if number == 30 { host.endNodes[0].labels = ["shelf": "here"] }
      world.add(host)
    }
    for number in 0..<4 {
      world.create("held-\(number)", host: "host-10") { $0.tenant = number == 0 ? "b-has-less" : "a-has-much" }
    }
    world.disconnect("host-30")
    for (name, shelf) in (0..<300).map({ ("claim-\($0)", "\($0)") }) + [("less", "here"), ("much", "here")] {
      world.create(name, host: "") {
        $0.tenant = ["less": "b-has-less", "much": "a-has-much"][name] ?? "c-has-nothing"
        $0.hostSelector = "name != 'nobody'"
        $0.selector = "label.shelf == '\(shelf)'"
      }
    }
    world.connect("host-30")
    for _ in 0..<8 { world.wait(milliseconds: 250) }
    world.settle()
    #expect(world.phase("less") == .ready)
    #expect(world.phase("much") == .pending)
  }

  /// One of them looks for all, and each waits for what it would find itself: what one that comes now is told.
  @Test(arguments: [10, 20])
  func whoAsksForTheSameWaitsForTheSameReasons(waiting: Int) {
    var world = World()
    for number in 10..<18 {
      var host = FakeHost("host-\(number)", address: "10.0.0.\(number)")
      host.plugins = [ethernetPlugin()]
      host.endNodes = [card("ethernet/\(number)", functions: 1)]
      world.add(host)
    }
    let kinds: [(name: String, change: (inout ClaimSpecification) -> Void)] = [
      ("any", { $0.hostSelector = "name != 'nobody'" }),
      ("one", { $0.hosts = ["host-12", "host-13"] }),
      ("named", { ($0.hosts, $0.consumer) = (["host-12", "host-13"], Consumer { $0.interfaceName = "iov-7" }) }),
      ("fast", { ($0.hostSelector, $0.allowedPaths) = ("name != 'nobody'", [.direct]) }),
    ]
    for number in 10..<18 { world.create("held-\(number)", host: "host-\(number)") }
    world.settle()
    for number in 0..<waiting {
      for kind in kinds { world.create("\(kind.name)-\(number)", host: "") { kind.change(&$0) } }
    }
    let told = { (world: World) in
      kinds.map { kind in Set((0..<waiting).map { world.claim("\(kind.name)-\($0)")?.status?.pending ?? [] }) }
    }
    let before = told(world)
    world.disconnect("host-12")
    for _ in 0..<4 { world.wait(milliseconds: 250) }
    let after = told(world)
    for (index, kind) in kinds.enumerated() {
      let now = world.create("\(kind.name)-now", host: "") { kind.change(&$0) }
      #expect(after[index] == [world.claim("\(kind.name)-now")?.status?.pending ?? []], "\(kind.name): \(now)")
      #expect(after[index] != before[index], "\(kind.name)")
    }
    // What comes free is one's that waits.
    world.connect("host-12")
    world.delete("held-12")
    world.settle()
    #expect(world.arbiter.listedClaims.filter { $0.status?.phase == .pending }.count == (waiting + 1) * kinds.count - 1)
  }

  /// They are looked for among the end nodes, in their order. The world compares that with a look at everything.
  @Test func claimsForAnyOfManyHostsAreSpreadOverThem() {
    var world = World()
    for number in 10..<50 {
      var host = FakeHost("host-\(number)", address: "10.0.0.\(number)")
      host.plugins = [ethernetPlugin()]
      host.endNodes = [card("ethernet/\(number)", functions: 100)]
      host.labels = ["half": number < 30 ? "one" : "other"]
      world.add(host)
    }
    for number in 0..<20 { world.create("claim-\(number)", host: "") { $0.hostSelector = "label.half == 'other'" } }
    world.settle()
    let assignments = world.arbiter.listedClaims.compactMap { $0.status?.assignment }
    #expect(Set(assignments.map(\.host)) == Set((30..<50).map { "host-\($0)" }))
    #expect(assignments.allSatisfy { $0.path == .directSoftware })
    world.create("served", host: "") {
      $0.hostSelector = "label.half == 'one'"
      $0.allowedPaths = [.mediated]
    }
    #expect(world.claim("served")?.status?.assignment.map { "\($0.endNode) \($0.host)" } == "ethernet/10 host-11")
  }

  /// What it takes to say why must not grow with the cluster: of very many end nodes some are looked at, its own first.
  @Test func ofVeryManyEndNodesSomeSayWhyAClaimWaits() throws {
    var world = World()
    var sick = FakeHost("sick", address: "10.0.0.1")
    sick.plugins = [ethernetPlugin()]
    sick.endNodes = (100..<400).map { number in
      var node = card("ethernet/\(number)", functions: 1)
      node.health = Health { $0.state = .unhealthy }
      return node
    }
    world.add(sick)
    var own = FakeHost("own", address: "10.0.0.2")
    own.plugins = [ethernetPlugin()]
    own.endNodes = [card("ethernet/999", functions: 1)]
    world.add(own)
    world.create("holder", host: "own")
    world.create("web", host: "own")
    let reasons = world.claim("web")?.status?.pending ?? []
    #expect(reasons.map { "\($0.filter) \($0.dropped)" } == ["health 255", "functions 1", "further 45"])
    #expect(reasons.last?.message == "45 further end nodes were not looked at for this; iov claim explain looks at all")
    let explanation = try world.arbiter.explanation(of: "web")
    #expect(explanation.filters.map { "\($0.filter) \($0.dropped)" } == ["health 300", "functions 1"])
  }
}
