import Messages
import Testing

@testable import Arbitration
@testable import Simulation

@Suite struct Cordons {
  @Test func keepNewFunctionsAwayAndLeaveThoseThatAreThere() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    let answer = try world.cordon(.node("a/eth1")).get()
    #expect(answer.endNode?.cordon?.reason == "a fan is broken")
    #expect(answer.endNode?.cordon?.since == world.now.timestamp)
    world.create("more")
    world.settle()
    #expect(world.phase("web") == .ready)
    #expect(world.phase("more") == .pending)
    #expect(world.claim("more")?.status?.pending.map(\.filter) == ["cordon"])
    #expect(world.reasons("more") == ["a/eth1 is cordoned: a fan is broken"])
    try #expect(world.uncordon(.node("a/eth1")).get().endNode?.cordon == nil)
    world.settle()
    #expect(world.phase("more") == .ready)
  }

  @Test func ofAHostAreForWhatItGivesAndForWhatItTakes() throws {
    var world = World.rack()
    world.cordon(.machine("a"))
    world.create("served", host: "b")
    #expect(world.reasons("served") == ["a, which controls a/eth1, is cordoned: a fan is broken"])
    world.create("taken", host: "a", deviceClass: "sata") {
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 20 } }
    }
    #expect(world.reasons("taken") == ["a is cordoned: a fan is broken"])
    // One that may be used elsewhere is.
    world.create("either", deviceClass: "sata") {
      $0.host = ""
      $0.hosts = ["a", "b"]
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 20 } }
    }
    #expect(world.claim("either")?.status?.assignment?.host == "b")
    world.uncordon(.machine("a"))
    world.settle()
    for name in ["served", "taken", "either"] { #expect(world.phase(name) == .ready) }
  }

  @Test func outliveTheCoordinatorAndWhatHostsSay() {
    var world = World.rack()
    world.cordon(.node("a/eth1"))
    world.cordon(.machine("c"), reason: "moved")
    world.restart()
    for name in ["a", "b", "c"] { world.connect(name) }
    world.reportInventory("a")
    #expect(world.cordon(of: "a/eth1")?.reason == "a fan is broken")
    #expect(world.cordon(of: "c")?.reason == "moved")
    world.create("web")
    #expect(world.phase("web") == .pending)
  }

  @Test func ofNothingAreRefused() throws {
    var world = World.rack()
    let unknown = world.cordon(.node("a/eth2")).refusal
    #expect(unknown?.code == .notFound)
    #expect(unknown?.message.contains("did you mean 'a/eth1'") == true)
    #expect(world.cordon(.machine("d")).refusal?.code == .notFound)
    #expect(world.cordon(MaintenanceTarget()).refusal?.code == .invalidArgument)
    #expect(world.cordon(.machine("a"), reason: "two\nlines").refusal?.code == .invalidArgument)
    // What is not cordoned can be uncordoned, and nothing is stored for it.
    let count = world.effects.count
    try #expect(world.uncordon(.machine("a")).get().host?.name == "a")
    let hasStored = world.effects.dropFirst(count).contains { $0.isDurable }
    #expect(!hasStored)
    // By its id, too.
    try #expect(world.cordon(.node("sata/S3R1AL")).get().endNode?.name == "c/sda")
  }

  @Test func changeTheirReason() throws {
    var world = World.rack()
    let first = try world.cordon(.machine("a")).get().host?.cordon
    let second = try world.cordon(.machine("a"), reason: "the other fan").get().host?.cordon
    #expect(second?.reason == "the other fan")
    #expect(second?.since == first?.since)
  }
}
