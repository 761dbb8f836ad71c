import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// How many hosts an end node serves is a capacity of its own, beside how many functions it has.
@Suite struct HostCapacityTests {
  /// A card of a that serves so many hosts, of which there are a to d.
  private func rack(hosts: UInt32, functions: UInt32 = 8) -> World {
    var world = World.rack()
    var d = FakeHost("d", address: "10.0.0.4")
    d.plugins = [ethernetPlugin(), sataPlugin()]
    world.add(d)
    limit(&world, hosts: hosts, functions: functions)
    return world
  }

  private func limit(_ world: inout World, hosts: UInt32, functions: UInt32 = 8) {
    var node = card("ethernet/52:54:00:00:00:01", functions: functions)
    node.capacity?.hosts = hosts
    world.hosts["a"]?.endNodes = [node]
    world.reportInventory("a")
    world.settle()
  }

  private func create(
    _ world: inout World, _ names: String..., host: String, _ change: (inout ClaimSpecification) -> Void = { _ in }
  ) {
    for name in names { world.create(name, host: host, change) }
    world.settle()
  }

  private func inUse(_ world: World) -> UInt32? {
    world.arbiter.listedEndNodes.first { $0.deviceClass == "ethernet" }?.used?.hosts
  }

  @Test func whoUsesItAlreadyGetsMoreAndNobodyElse() throws {
    var world = rack(hosts: 2)
    create(&world, "b-1", host: "b")
    create(&world, "c-1", host: "c")
    create(&world, "b-2", "b-3", host: "b")
    create(&world, "d-1", host: "d")
    #expect(world.phases("b-1", "b-2", "b-3", "c-1", "d-1") == [.ready, .ready, .ready, .ready, .pending])
    #expect(world.reasons("d-1") == ["a/eth1 serves at most 2 hosts at a time, and they are: b, c"])
    #expect(inUse(world) == 2)
    let explanation = try world.arbiter.explanation(of: "d-1")
    #expect(explanation.filters.contains { $0.filter == "hosts" && $0.dropped == 1 }, "\(explanation)")
    // One of several does not make room, the last one does.
    world.delete("b-1")
    world.settle()
    #expect(world.phase("d-1") == .pending)
    world.delete("c-1")
    world.settle()
    #expect(world.phase("d-1") == .ready)
    #expect(inUse(world) == 2)
  }

  @Test func aClaimForAnyHostGoesToOneThatUsesIt() {
    var world = rack(hosts: 1)
    create(&world, "c-1", host: "c")
    create(&world, "any", host: "") {
      ($0.hostSelector, $0.allowedPaths) = ("name != 'nobody'", [.mediated])
    }
    #expect(world.claim("any")?.status?.assignment?.host == "c")
    create(&world, "two", host: "") { ($0.hosts, $0.allowedPaths) = (["b", "d"], [.mediated]) }
    #expect(world.phase("two") == .pending)
    create(&world, "three", host: "") { ($0.hosts, $0.allowedPaths) = (["b", "c", "d"], [.mediated]) }
    #expect(world.claim("three")?.status?.assignment?.host == "c")
  }

  /// More hosts than are looked at for one that waits come before the one by name.
  @Test func whatTheLastOfManyHostsReturnsGoesToAClaimForAnyHostAtOnce() {
    var world = rack(hosts: 1, functions: 2)
    for number in 0..<260 {
      world.add(FakeHost("h\(number)", address: "10.1.\(number / 100).\(number % 100 + 1)"))
    }
    var z = FakeHost("z", address: "10.0.0.5")
    z.plugins = [ethernetPlugin()]
    world.add(z)
    create(&world, "z-1", "z-2", host: "z")
    #expect(world.phases("z-1", "z-2") == [.ready, .ready])
    // So many that not all of them look again in the event in which something is free.
    for number in 0..<65 { world.create("d-\(number)", host: "d") }
    create(&world, "any", host: "") { ($0.hostSelector, $0.allowedPaths) = ("name != 'nobody'", [.mediated]) }
    #expect(world.phase("any") == .pending)
    world.delete("z-1")
    world.settle()
    #expect(world.claim("any")?.status?.assignment?.host == "z")
    #expect(world.phase("d-0") == .pending)
  }

  @Test func theHostWithTheFewestFunctionsLetsGoForAnotherOne() {
    var world = rack(hosts: 2)
    create(&world, "c-1", host: "c")
    create(&world, "b-1", "b-2", host: "b")
    create(&world, "d-1", host: "d") { $0.priority = 1 }
    #expect(world.phases("b-1", "b-2", "c-1", "d-1") == [.ready, .ready, .pending, .ready])
    // A host of which one function is of a higher priority makes no room.
    create(&world, "c-2", host: "c") { $0.priority = 1 }
    #expect(world.phases("b-1", "b-2", "c-2") == [.pending, .pending, .ready])
    #expect(inUse(world) == 2)
  }

  @Test func aHostThatItDoesNotServeTakesThePlaceOfOneThatMayHaveNoMore() {
    var world = rack(hosts: 1)
    create(&world, "b-1", host: "b")
    world.cordon(.machine("b"))
    create(&world, "any", host: "") { ($0.hosts, $0.allowedPaths, $0.priority) = (["b", "c"], [.mediated], 1) }
    #expect(world.phases("b-1", "any") == [.pending, .ready])
    #expect(world.claim("any")?.status?.assignment?.host == "c")
  }

  @Test func aGroupIsGrantedWhereAllItsHostsAreServed() throws {
    var world = rack(hosts: 3)
    create(&world, "a-1", host: "a")
    let members = ["b", "c", "d"].map { host in
      CreateClaimRequest {
        $0.name = "on-\(host)"
        $0.specification = ClaimSpecification {
          $0.deviceClass = "ethernet"
          $0.host = host
          $0.group = "all"
        }
      }
    }
    try #require(world.apply(members).refusal == nil)
    world.settle()
    #expect(world.phases("on-b", "on-c", "on-d") == [.pending, .pending, .pending])
    #expect(inUse(world) == 1)
    world.delete("a-1")
    world.settle()
    #expect(world.phases("on-b", "on-c", "on-d") == [.ready, .ready, .ready])
    // More hosts than there can ever be are told at once.
    var small = rack(hosts: 2)
    #expect(
      small.apply(members).refusal?.message.contains(
        "is used on 3 hosts at once, and the only end node that it selects has 2 to serve") == true)
  }

  @Test func aLimitBelowWhatIsInUseTakesNothingAway() {
    var world = rack(hosts: 3)
    for host in ["b", "c", "d"] { create(&world, "\(host)-1", host: host) }
    limit(&world, hosts: 1)
    #expect(world.phases("b-1", "c-1", "d-1") == [.ready, .ready, .ready])
    create(&world, "b-2", host: "b")
    create(&world, "a-1", host: "a")
    #expect(world.phases("b-2", "a-1") == [.ready, .pending])
    #expect(inUse(world) == 3)
    world.restart()
    for host in ["a", "b", "c", "d"] { world.connect(host) }
    world.settle()
    #expect(inUse(world) == 3)
    #expect(world.phase("a-1") == .pending)
  }

  @Test func conditionsAskForIt() {
    var world = rack(hosts: 2)
    create(&world, "b-1", host: "b") { $0.selector = "free.hosts == 2 and capacity.hosts == 2" }
    create(&world, "c-1", host: "c") { $0.selector = "used.hosts > 0 and free.hosts == 1" }
    create(&world, "b-2", host: "b") { $0.selector = "free.hosts > 0" }
    #expect(world.phases("b-1", "c-1", "b-2") == [.ready, .ready, .pending])
  }
}
