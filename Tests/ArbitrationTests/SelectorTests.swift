import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// Claims with conditions on end nodes.
@Suite struct SelectorTests {
  /// Host a has three cards, and one that is gone.
  private func rack() -> World {
    var world = World.rack()
    var cards = [card("ethernet/1"), card("ethernet/2", on: "eth2"), card("ethernet/3", on: "eth3", functions: 2)]
    cards[0].labels = ["rack": "r2"]
    cards[1].labels = ["rack": "r10"]
    cards[1].physicalFunction = PhysicalFunction { $0.driver = "mlx5_core" }
    world.hosts["a"]?.endNodes = cards
    world.reportInventory("a")
    return world
  }

  private func endNode(of claim: String, in world: World) -> String? { world.claim(claim)?.status?.assignment?.endNode }

  @Test(arguments: [
    (#"label.rack == "r10""#, "ethernet/2"), (#"driver == "mlx5_core""#, "ethernet/2"),
    ("capacity.functions < 4", "ethernet/3"), (#"label.rack < "r10""#, "ethernet/1"),
    (#"not has(label.rack) and class == "ethernet""#, "ethernet/3"), (#"name == "a/eth3""#, "ethernet/3"),
    (#""a" in roots and host == "a" and id in ["ethernet/2"]"#, "ethernet/2"),
  ])
  func aClaimGetsAnEndNodeThatIsSo(selector: String, endNode: String) {
    var world = rack()
    world.create("web") { $0.selector = selector }
    #expect(self.endNode(of: "web", in: world) == endNode)
  }

  @Test func aConditionStandsBesideWhatElseIsChosen() {
    var world = rack()
    world.create("web") {
      $0.selector = "capacity.functions == 4"
      $0.endNode = EndNodeSelector { $0.labels = ["rack": "r10"] }
    }
    #expect(endNode(of: "web", in: world) == "ethernet/2")
    world.create("none") {
      $0.selector = "capacity.functions == 2"
      $0.endNode = EndNodeSelector { $0.labels = ["rack": "r10"] }
    }
    #expect(world.phase("none") == .pending)
  }

  @Test func whatIsWrongWithAConditionIsSaidAtOnce() {
    var world = rack()
    guard
      case .failure(let refusal) = world.create(
        "web", { $0.selector = #"capacity.functions > 2 and label.rack = "r2""# })
    else {
      Issue.record("it was taken")
      return
    }
    #expect(refusal.code == .invalidArgument)
    #expect(refusal.message.hasPrefix("the selector, column 39: '=' alone is nothing"))
    #expect(refusal.message.hasSuffix("\n" + String(repeating: " ", count: 40) + "^"))
    #expect(world.claim("web") == nil)
  }

  @Test func whatNothingEverMeetsIsRefusedWhereItIsWritten() {
    var world = rack()
    let both = world.create("web") { $0.selector = #"label.rack=='r1'&&label.rack=='r2'"# }.refusal
    #expect(both?.code == .invalidArgument)
    #expect(both?.message.hasPrefix(#"the selector, column 19: label.rack == "r2" is never so where"#) == true)
    let host = world.create("web") {
      $0.host = ""
      $0.hostSelector = "false"
    }.refusal
    #expect(host?.message.hasPrefix("the host selector, column 1: false is never so") == true)
    // Not where it would stand in the one spelling.
    let unlike = world.create("web") { $0.selector = "multi_root&&label.rack==3" }.refusal
    #expect(unlike?.message.hasPrefix("the selector, column 25: label.rack is a text") == true)
    #expect(world.claim("web") == nil)
  }

  @Test func whatNoEndNodeIsMayComeAndSaysWhatIsMissing() {
    var world = rack()
    world.create("web") { $0.selector = #"has(label.rack) and label.rack == "r3""# }
    let reason = world.claim("web")?.status?.pending.first
    #expect(reason?.filter == "selector" && reason?.dropped == 4)
    #expect(reason?.message.contains(#"a/eth2 is not what the claim selects: it is not label.rack == "r3""#) == true)
    #expect(reason?.message.contains("a/eth3 is not what the claim selects: it is not has(label.rack)") == true)
    world.hosts["a"]?.endNodes[2].labels = ["rack": "r3"]
    world.reportInventory("a")
    world.settle()
    #expect(world.phase("web") == .ready)
  }

  @Test func whatIsSelectedAndCanNeverDoItIsRefused() {
    var world = rack()
    let wide: (inout ClaimSpecification) -> Void = {
      $0.selector = #"label.rack == "r2""#
      $0.attributes = Attributes { $0.ethernet = EthernetAttributes { $0.mtu = 9500 } }
    }
    guard case .failure(let refusal) = world.create("wide", wide) else {
      Issue.record("it was taken")
      return
    }
    #expect(refusal.message.contains("a/eth1"))
    // One that is in use and selected for that now may not be the only one by and by.
    world.create("web") { $0.selector = "name == \"a/eth1\"" }
    world.hosts["a"]?.endNodes[1].capabilities?.maximumMtu = 10_000
    world.reportInventory("a")
    world.create("later", host: "a") {
      $0.selector = "used.functions > 0"
      $0.attributes = Attributes { $0.ethernet = EthernetAttributes { $0.mtu = 9500 } }
    }
    #expect(world.phase("later") == .pending)
  }

  @Test func useOpensAndCloses() {
    var world = rack()
    world.create("packed") { $0.selector = "used.functions > 0" }
    world.create("spread") { $0.selector = "capacity.functions == 2 and used.functions == 0" }
    world.settle()
    #expect(endNode(of: "spread", in: world) == "ethernet/3")
    // The other one's grant is what the first waited for.
    #expect(endNode(of: "packed", in: world) == "ethernet/3")
    world.create("next") { $0.selector = "capacity.functions == 2 and used.functions == 0" }
    #expect(world.phase("next") == .pending)
    world.delete("packed")
    world.delete("spread")
    world.settle()
    #expect(endNode(of: "next", in: world) == "ethernet/3")
  }

  @Test func anotherSpellingIsTheSameClaim() throws {
    var world = rack()
    let one = try world.create("web") { $0.selector = "free.functions>2&&label['rack']!='r2'" }.get()
    #expect(one.specification?.selector == #"free.functions > 2 and label.rack != "r2""#)
    let again = try world.create("web") { $0.selector = #"free.functions > 2 and labels.rack != "r2""# }.get()
    #expect(again.uid == one.uid)
    guard case .failure(let refusal) = world.create("web", { $0.selector = "free.functions > 3" }) else {
      Issue.record("it was taken")
      return
    }
    #expect(refusal.code == .alreadyExists)
  }

  @Test func aConditionSurvivesARestart() {
    var world = rack()
    world.create("web") { $0.selector = #"label.rack == "r3""# }
    world.restart()
    world.connect("a")
    world.connect("b")
    #expect(world.phase("web") == .pending)
    world.hosts["a"]?.endNodes[0].labels = ["rack": "r3"]
    world.reportInventory("a")
    world.settle()
    #expect(world.phase("web") == .ready)
    world.delete("web")
    world.settle()
    #expect(world.claim("web") == nil)
  }

  /// A store may hold what a later version took.
  @Test func aConditionOfAnotherVersionWaits() throws {
    var world = rack()
    world.create("web") { $0.selector = #"label.rack == "r3""# }
    var claim = try #require(world.claim("web"))
    claim.specification?.selector = "colour.of.led == 3"
    world.store[RecordKey(.claim, "web")] = .claim(claim)
    world.restart()
    world.connect("a")
    world.connect("b")
    let reason = world.claim("web")?.status?.pending.first
    #expect(reason?.filter == "selector")
    #expect(reason?.message.hasPrefix("its selector is of another version: column 1: ") == true)
  }

  @Test func aPartOfASourceChoosesNothing() {
    var world = rack()
    world.hosts["a"]?.endNodes.append(disk("sata/1"))
    world.hosts["a"]?.endNodes[3].capabilities?.consumers.append("file_server")
    world.hosts["a"]?.plugins.append(sataPlugin())
    world.reportInventory("a")
    world.create("shelf", host: "a", deviceClass: "sata") {
      $0.consumer = Consumer { $0.kind = .fileServer(FileServerConsumer()) }
    }
    guard
      case .failure(let refusal) = world.create(
        "part", deviceClass: "sata",
        {
          $0.source = "shelf"
          $0.selector = "true"
        })
    else {
      Issue.record("it was taken")
      return
    }
    #expect(refusal.message.contains("cannot choose an end node"))
  }
}
