import Messages
import Testing

@testable import Arbitration
@testable import Simulation

extension EndNode {
  /// Its own functions are as many as it says.
  mutating func makes(_ count: FunctionCount) {
    var physicalFunction = physicalFunction ?? PhysicalFunction()
    physicalFunction.functionCount = count
    self.physicalFunction = physicalFunction
    capabilities?.paths = count.present > 0 ? [.direct, .directSoftware, .mediated] : [.directSoftware, .mediated]
    for index in capabilities?.byPath.indices ?? 0..<0 where capabilities?.byPath[index].path == .direct {
      capabilities?.byPath[index].functions = count.present
    }
  }
}

/// The number of functions that a device makes itself, set by an operator.
@Suite struct FunctionCountTests {
  private static let id = "ethernet/52:54:00:00:00:01"

  /// Host a has a card that has made some functions of its own, and can make 8.
  private func rack(present: UInt32 = 2, configured: UInt32? = nil, isSettable: Bool = true) -> World {
    var world = World.rack()
    var node = iovCard(Self.id, functions: present)
    node.capacity?.functions = 64
    let count = FunctionCount {
      $0.maximum = 8
      $0.present = present
      $0.wanted = configured
      $0.settable = isSettable
    }
    node.makes(count)
    world.hosts["a"]?.endNodes = [node]
    world.hosts["a"]?.configuredFunctions[Self.id] = configured
    world.reportInventory("a")
    world.settle()
    return world
  }

  private func create(_ name: String, in world: inout World, by path: Path = .direct) {
    world.create(name, host: "a") { $0.allowedPaths = [path] }
  }

  private func count(in world: World) -> FunctionCount? {
    world.arbiter.listedEndNodes.first { $0.id == Self.id }?.physicalFunction?.functionCount
  }

  @Test func itsHostMakesAsManyAsAreSet() throws {
    var world = rack()
    let answer = try world.setFunctionCount("a/eth1", 4).get()
    #expect(answer.endNode?.wantedFunctions == 4 && answer.endNode?.id == Self.id)
    #expect(count(in: world)?.present == 2)
    world.settle()
    #expect(count(in: world)?.present == 4 && count(in: world)?.ordered == 4)
    for name in ["one", "two", "three", "four", "five"] { create(name, in: &world) }
    world.settle()
    #expect(["one", "two", "three", "four"].allSatisfy { world.phase($0) == .ready })
    #expect(world.phase("five") == .pending)
  }

  @Test func nobodyGetsOneMeanwhile() throws {
    var world = rack()
    world.hosts["a"]?.isStuck = true
    try _ = world.setFunctionCount("a/eth1", 4).get()
    create("own", in: &world)
    #expect(world.phase("own") == .pending)
    #expect(world.claim("own")?.status?.pending.map(\.filter) == ["controlling-host"])
    #expect(world.reasons("own") == ["a/eth1 is to make 4 functions in place of 2, and a has not done so yet"])
    // What is made by software has nothing to do with it.
    create("software", in: &world, by: .directSoftware)
    #expect(world.claim("software")?.status?.assignment?.endNode == Self.id)
    // Its host was told and remembers it, and has not made them yet.
    world.hosts["a"]?.endNodes[0].physicalFunction?.functionCount?.ordered = 4
    world.hosts["a"]?.endNodes[0].physicalFunction?.functionCount?.wanted = 4
    world.reportInventory("a")
    #expect(world.phase("own") == .pending)
    world.hosts["a"]?.endNodes[0].physicalFunction?.functionCount?.ordered = nil
    world.hosts["a"]?.isStuck = false
    world.settle()
    #expect(world.phase("own") == .ready && world.phase("software") == .ready)
  }

  @Test func whatIsInUseKeepsItAsItIs() {
    var world = rack()
    create("web", in: &world)
    create("software", in: &world, by: .directSoftware)
    world.settle()
    let refusal = world.setFunctionCount("a/eth1", 4).refusal
    #expect(refusal?.code == .failedPrecondition)
    #expect(
      refusal?.message
        == "a/eth1 makes all of its functions anew when there are to be 4 of them, and some are in use: 'web'. Have them "
        + "go first: iov endnode drain a/eth1 --wait")
    world.settle()
    #expect(count(in: world)?.present == 2 && world.phase("web") == .ready)
    // As many as there are is no change.
    #expect(world.setFunctionCount("a/eth1", 2).refusal == nil)
    world.settle()
    #expect(count(in: world)?.ordered == 2 && world.phase("web") == .ready)
    world.delete("web")
    world.settle()
    #expect(world.setFunctionCount("a/eth1", 4).refusal == nil)
    world.settle()
    #expect(count(in: world)?.present == 4 && world.phase("software") == .ready)
  }

  @Test func whatNobodyRemembersIsInUseToo() {
    var world = rack()
    create("web", in: &world)
    world.settle()
    let function = world.claim("web")?.status?.assignment?.function ?? ""
    let copy = world.store.filter { $0.key.kind != .claim && $0.key.kind != .wantedFunction }
    world.store = copy
    world.restart()
    for name in ["a", "b", "c"] { world.connect(name) }
    let refusal = world.setFunctionCount("a/eth1", 4).refusal
    #expect(
      refusal?.message.contains("some are in use: \(function). See what is left of them: iov orphan list") ?? false,
      "\(String(describing: refusal))")
  }

  @Test func itOutlivesTheCoordinatorAndTheHostAndIsTakenBack() throws {
    var world = rack(present: 2, configured: 2)
    try _ = world.setFunctionCount(Self.id, 8).get()
    world.settle()
    world.restart()
    for name in ["a", "b", "c"] { world.connect(name) }
    world.settle()
    #expect(world.hosts["a"]?.functionCounts[Self.id] == 8 && count(in: world)?.present == 8)
    // Of another run of the host, which has forgotten it.
    world.hosts["a"]?.endNodes[0].makes(
      FunctionCount {
        ($0.maximum, $0.present, $0.wanted, $0.settable) = (8, 2, 2, true)
      })
    world.reportInventory("a")
    world.settle()
    #expect(count(in: world)?.present == 8)
    try #expect(world.setFunctionCount(Self.id, nil).get().endNode?.wantedFunctions == nil)
    world.settle()
    #expect(world.hosts["a"]?.functionCounts[Self.id] == nil)
    #expect(count(in: world)?.ordered == nil && count(in: world)?.present == 2)
    create("web", in: &world)
    world.settle()
    #expect(world.phase("web") == .ready)
  }

  @Test func fewerThanThatAreGivenWhereTheDriverMakesNoMore() throws {
    var world = rack(present: 0)
    world.hosts["a"]?.mostFunctions = 1
    try _ = world.setFunctionCount("a/eth1", 4).get()
    world.settle()
    #expect(count(in: world)?.message == "the driver made 1")
    create("web", in: &world)
    world.settle()
    #expect(world.phase("web") == .ready)
  }

  @Test func noneMayBeWanted() throws {
    var world = rack()
    try _ = world.setFunctionCount("a/eth1", 0).get()
    world.settle()
    #expect(count(in: world)?.present == 0)
    create("web", in: &world)
    world.settle()
    #expect(world.phase("web") == .pending)
  }

  /// Its link goes and comes back each time.
  @Test func aCardIsNotLeftAloneForThat() throws {
    var world = rack()
    func say(_ state: HealthState) {
      world.hosts["a"]?.endNodes[0].health = Health { $0.state = state }
      world.reportInventory("a")
    }
    for count in 1...8 as ClosedRange<UInt32> {
      world.hosts["a"]?.isStuck = true
      try _ = world.setFunctionCount("a/eth1", count).get()
      say(.unhealthy)
      world.hosts["a"]?.isStuck = false
      world.settle()
      say(.healthy)
    }
    create("web", in: &world)
    world.settle()
    #expect(world.phase("web") == .ready)
    for _ in 0..<4 {
      say(.unhealthy)
      say(.healthy)
    }
    create("late", in: &world)
    #expect(world.claim("late")?.status?.pending.map(\.filter) == ["flapping"])
  }

  @Test func whatDoesNotApplyAnyMoreIsTakenBack() throws {
    var world = rack()
    try _ = world.setFunctionCount("a/eth1", 4).get()
    world.settle()
    world.hosts["a"]?.endNodes[0].physicalFunction?.functionCount?.settable = false
    world.reportInventory("a")
    #expect(world.setFunctionCount("a/eth1", 5).refusal?.code == .failedPrecondition)
    world.hosts["a"]?.endNodes[0].physicalFunction?.functionCount = nil
    world.reportInventory("a")
    try #expect(world.setFunctionCount("a/eth1", nil).get().endNode?.wantedFunctions == nil)
  }

  @Test func aGroupMayAskForThoseThatAreToCome() throws {
    var world = rack(present: 2)
    let names = ["one", "two", "three", "four"]
    let group = names.map { name in member(name, host: "a") { $0.allowedPaths = [.direct] } }
    #expect(world.apply(group).refusal != nil)
    world.hosts["a"]?.isStuck = true
    try _ = world.setFunctionCount("a/eth1", 4).get()
    world.apply(group)
    world.hosts["a"]?.isStuck = false
    world.settle()
    #expect(names.allSatisfy { world.phase($0) == .ready })
  }

  /// A disk as a whole is none of the functions that its drive makes, but for those who drive it themselves.
  @Test func wholeDisksAreNoFunctions() throws {
    var world = World.rack()
    var node = versatileDisk("sata/S3R1AL")
    node.capabilities?.consumers += ["virtual_machine"]
    node.physicalFunction = PhysicalFunction {
      $0.functionCount = FunctionCount { ($0.maximum, $0.settable) = (8, true) }
    }
    world.hosts["c"]?.endNodes = [node]
    world.hosts["c"]?.isStuck = true
    world.reportInventory("c")
    func whole(_ name: String, _ consumer: Consumer? = nil) {
      world.create(name, host: "c", deviceClass: "sata") {
        $0.allowedPaths = [.direct]
        $0.consumer = consumer
      }
    }
    try _ = world.setFunctionCount("sata/S3R1AL", 4).get()
    whole("driven", Consumer { $0.kind = .virtualMachine(VirtualMachineConsumer()) })
    #expect(world.claim("driven")?.status?.pending.map(\.filter) == ["controlling-host"])
    whole("plain")
    #expect(world.claim("plain")?.status?.assignment != nil)
    #expect(world.setFunctionCount("sata/S3R1AL", 5).refusal == nil)
  }

  @Test func whatCannotBeIsRefused() {
    var world = rack()
    let tooMany = world.setFunctionCount("a/eth1", 9).refusal
    #expect(tooMany?.code == .invalidArgument)
    #expect(
      tooMany?.message == "a/eth1 is asked for 9 functions of its own, and 8 are the most that it can make")
    #expect(world.setFunctionCount("a/eth7", 1).refusal?.code == .notFound)
    let none = world.setFunctionCount("c/sda", 1).refusal
    #expect(none?.code == .failedPrecondition)
    #expect(none?.message == "c/sda makes no functions of its own (SR-IOV), as far as c says")
    var fixed = rack(isSettable: false)
    let byConfiguration = fixed.setFunctionCount("a/eth1", 1).refusal
    #expect(byConfiguration?.code == .failedPrecondition)
    #expect(
      byConfiguration?.message
        == "how many functions of its own a/eth1 makes, the configuration of its plugin on a says alone")
  }
}

extension World {
  @discardableResult
  mutating func setFunctionCount(_ endNode: String, _ count: UInt32?) -> Result<MaintenanceAnswer, Refusal> {
    let request = SetFunctionCountRequest {
      $0.endNode = endNode
      $0.count = count
    }
    return ask { .functionCountSet($0, request) }.map(\.maintenance)
  }
}
