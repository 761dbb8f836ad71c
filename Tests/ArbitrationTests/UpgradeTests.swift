import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// Claims that ask for a better path when one is free.
@Suite struct UpgradeTests {
  private static let near = "ethernet/near"
  private static let far = "ethernet/far"

  /// Host a has a card with one function, host c one with as many as are asked for. "first" has the one of a, and "web" is for a as
  /// well, so that it is served by c.
  private func rack(far: UInt32 = 4, isAsked: Bool = true) -> World {
    var world = World.rack()
    world.hosts["a"]?.endNodes = [card(Self.near, functions: 1)]
    world.hosts["c"]?.endNodes = [card(Self.far, on: "eth5", functions: far)]
    for name in ["a", "c"] { world.reportInventory(name) }
    world.create("first", host: "a")
    world.create("web", host: "a") { $0.upgrade = isAsked }
    world.settle()
    return world
  }

  private func path(_ name: String, in world: World) -> Path? { world.claim(name)?.status?.assignment?.path }
  private func upgrade(_ name: String, in world: World) -> Upgrade? { world.claim(name)?.status?.upgrade }
  private func endNode(_ name: String, in world: World) -> String? { world.claim(name)?.status?.assignment?.endNode }

  private func refusal(_ result: Result<Claim, Refusal>) -> String {
    if case .failure(let refusal) = result { refusal.message } else { "" }
  }

  /// The better path is free, and the claim has begun to let go of what it has.
  private func underWay(far: UInt32 = 4) -> World {
    var world = rack(far: far)
    world.delete("first")
    world.settle()
    world.hosts["c"]?.isStuck = true
    world.pass(milliseconds: 1000)
    return world
  }

  @Test func itMovesWhenABetterPathIsFree() throws {
    var world = rack()
    #expect(path("web", in: world) == .mediated)
    world.pass(milliseconds: 5000)
    #expect(path("web", in: world) == .mediated && upgrade("web", in: world) == nil)
    world.delete("first")
    world.settle()
    world.pass(milliseconds: 1000)
    world.settle()
    #expect(world.phase("web") == .ready && path("web", in: world) == .directSoftware)
    let done = try #require(upgrade("web", in: world))
    #expect(done.count == 1 && done.better == nil && done.former == nil)
    let used = Dictionary(uniqueKeysWithValues: world.arbiter.listedEndNodes.map { ($0.id, $0.used?.functions) })
    #expect(used[Self.near] == 1 && used[Self.far] == 0)
  }

  @Test func whoDoesNotAskForItStays() {
    var world = rack(isAsked: false)
    world.delete("first")
    world.settle()
    world.pass(milliseconds: 10_000)
    #expect(path("web", in: world) == .mediated && world.phase("web") == .ready)
  }

  @Test func whoWaitsComesFirst() {
    var world = rack()
    world.create("late", host: "a") { $0.allowedPaths = [.directSoftware] }
    #expect(world.phase("late") == .pending)
    world.delete("first")
    world.settle()
    world.pass(milliseconds: 10_000)
    #expect(world.phase("late") == .ready && path("web", in: world) == .mediated)
    world.delete("late")
    world.settle()
    world.pass(milliseconds: 1000)
    world.settle()
    #expect(path("web", in: world) == .directSoftware)
  }

  @Test func whoseTenantHasMoreThanItsQuotaStays() throws {
    var world = World.rack()
    world.hosts["a"]?.endNodes = [card(Self.near, functions: 1)]
    world.hosts["c"]?.endNodes = [card(Self.far, on: "eth5", functions: 4)]
    for name in ["a", "c"] { world.reportInventory(name) }
    world.create("first", host: "a")
    world.createTenant("lab")
    for name in ["web", "db"] {
      world.create(name, host: "a") { ($0.upgrade, $0.tenant, $0.allowedPaths) = (true, "lab", []) }
    }
    world.settle()
    _ = try world.setTenant("lab", functions: 1, force: true).get()
    world.delete("first")
    world.settle()
    world.pass(milliseconds: 5000)
    for name in ["web", "db"] {
      #expect(world.phase(name) == .ready && path(name, in: world) == .mediated)
      #expect(explanation(name, in: world).contains("the quota of tenant 'lab' is 1"))
    }
    _ = try world.setTenant("lab", functions: 2).get()
    world.pass(milliseconds: 2000)
    world.settle()
    #expect(Set(["web", "db"].map { path($0, in: world) }) == [.mediated, .directSoftware])
  }

  @Test func nobodyElseGetsTheBetterPlaceMeanwhile() {
    var world = underWay()
    #expect(world.phase("web") == .reclaiming && upgrade("web", in: world)?.better?.endNode == Self.near)
    world.create("greedy", host: "a") { $0.allowedPaths = [.directSoftware] }
    world.pass(milliseconds: 2000)
    #expect(world.phase("greedy") == .pending)
    world.hosts["c"]?.isStuck = false
    world.settle()
    #expect(path("web", in: world) == .directSoftware && world.phase("greedy") == .pending)
  }

  @Test func theFormerPlaceIsThereWhenTheBetterOneIsLost() {
    var world = underWay(far: 1)
    world.create("greedy") { $0.allowedPaths = [.mediated] }
    world.cordon(.node(Self.near))
    world.hosts["c"]?.isStuck = false
    world.settle()
    #expect(endNode("web", in: world) == Self.far && world.phase("web") == .ready)
    #expect(world.phase("greedy") == .pending)
    let holdings = world.audit.holdings.filter { $0.claim == "web" }
    #expect(
      holdings.last?.whyGranted == "it was to be upgraded to the path direct-software, which was not free any more")
  }

  @Test func theFormerPlaceIsKeptUntilTheNextOneIsInUse() {
    var world = rack(far: 1)
    world.create("greedy") { $0.endNode = EndNodeSelector { $0.name = Self.far } }
    world.delete("first")
    world.settle()
    world.hosts["a"]?.isStuck = true
    world.pass(milliseconds: 1000)
    world.settle()
    #expect(world.phase("web") != .ready && world.phase("greedy") == .pending)
    world.hosts["a"]?.isStuck = false
    world.settle()
    #expect(world.phase("web") == .ready && path("web", in: world) == .directSoftware)
    #expect(world.phase("greedy") == .ready)
  }

  @Test func nothingIsKeptForEver() {
    var world = underWay(far: 1)
    world.create("greedy", host: "a") { $0.allowedPaths = [.directSoftware] }
    world.pass(milliseconds: 130_000)
    world.settle()
    #expect(world.phase("greedy") == .ready && upgrade("web", in: world)?.better == nil)
    world.hosts["c"]?.isStuck = false
    world.settle()
    #expect(world.phase("web") == .ready && endNode("web", in: world) == Self.far)
  }

  @Test func aRestartChangesNothingOfThat() {
    var world = underWay(far: 1)
    world.restart()
    for name in ["a", "b"] { world.connect(name) }
    world.create("greedy", host: "a") { $0.allowedPaths = [.directSoftware] }
    world.create("other") { $0.endNode = EndNodeSelector { $0.name = Self.far } }
    world.hosts["c"]?.isStuck = false
    world.connect("c")
    world.settle()
    #expect(path("web", in: world) == .directSoftware && world.phase("web") == .ready)
    #expect(world.phase("greedy") == .pending && world.phase("other") == .ready)
  }

  @Test func itIsNotMovedAgainSoon() {
    var world = rack()
    world.delete("first")
    world.settle()
    world.pass(milliseconds: 1000)
    world.settle()
    world.cordon(.node(Self.near))
    _ = world.ask { .claimEvicted($0, EvictClaimRequest { $0.name = "web" }) }
    world.settle()
    #expect(path("web", in: world) == .mediated)
    world.uncordon(.node(Self.near))
    world.pass(milliseconds: 200_000)
    world.settle()
    #expect(path("web", in: world) == .mediated)
    #expect(explanation("web", in: world).contains("the last upgrade was not long ago"))
    world.pass(milliseconds: 100_000)
    world.settle()
    #expect(path("web", in: world) == .directSoftware && upgrade("web", in: world)?.count == 2)
  }

  @Test func aClaimForSeveralHostsStaysOnItsOwn() {
    var world = World.rack()
    world.hosts["a"]?.endNodes = [card(Self.near, functions: 1)]
    world.reportInventory("a")
    world.create("first", host: "a")
    world.create("web", host: "") {
      $0.hosts = ["a", "b"]
      $0.upgrade = true
    }
    world.settle()
    #expect(world.claim("web")?.status?.assignment == nil)
    world.hosts["c"]?.endNodes = [card(Self.far, on: "eth5")]
    world.reportInventory("c")
    world.settle()
    let host = world.claim("web")?.status?.assignment?.host
    #expect(path("web", in: world) == .mediated)
    world.delete("first")
    world.settle()
    world.pass(milliseconds: 1000)
    world.settle()
    #expect(world.claim("web")?.status?.assignment?.host == host)
  }

  @Test func oneThatIsDeletedOnItsWayLeavesNothing() {
    var world = underWay()
    world.delete("web")
    world.hosts["c"]?.isStuck = false
    world.settle()
    #expect(world.arbiter.listedClaims.isEmpty && world.arbiter.hasEmptyIndexes)
    #expect(world.arbiter.listedEndNodes.allSatisfy { $0.used == Capacity() })
  }

  private func explanation(_ name: String, in world: World) -> String {
    (try? world.arbiter.explanation(of: name))?.upgrade ?? ""
  }

  @Test func whatItWaitsForIsSaid() throws {
    var world = rack()
    #expect(
      explanation("web", in: world)
        == "it has the path mediated and wants a better one (direct or direct-software or fabric); it waits for this to change: "
        + "all 1 functions of a/eth1 are in use")
    #expect(explanation("first", in: world).isEmpty)
    world = underWay()
    #expect(explanation("web", in: world).hasPrefix("it is on its way to a/eth1 by the path direct-software"))
    let plan = try rack().plan([
      CreateClaimRequest {
        $0.name = "more"
        $0.specification = ClaimSpecification {
          $0.deviceClass = "ethernet"
          $0.host = "a"
          $0.upgrade = true
        }
      }
    ])
    #expect(plan.claims.first?.upgrade.contains("wants a better one") == true)
  }

  @Test func theAuditSaysThatItMovedByAnUpgrade() {
    var world = underWay()
    world.hosts["c"]?.isStuck = false
    world.settle()
    let holdings = world.audit.holdings.filter { $0.claim == "web" }
    #expect(holdings.count == 2)
    #expect(holdings.first?.whyEnded.contains("a/eth1 is free by the better path direct-software") == true)
    #expect(holdings.last?.whyGranted == "it was upgraded from the path mediated")
  }

  @Test func theWishIsChangedInPlace() throws {
    var world = rack(isAsked: false)
    let token = world.claim("web")?.status?.assignment?.token
    var specification = try #require(world.claim("web")?.specification)
    specification.upgrade = true
    let request = CreateClaimRequest {
      $0.name = "web"
      $0.specification = specification
    }
    #expect(try world.plan([request]).claims.map(\.action) == [.update])
    #expect(world.claim("web")?.specification?.upgrade == false)
    _ = try world.apply([request]).get()
    #expect(world.claim("web")?.status?.assignment?.token == token)
    world.delete("first")
    world.settle()
    world.pass(milliseconds: 1000)
    world.settle()
    #expect(path("web", in: world) == .directSoftware)
  }

  @Test func whatMakesNoSenseIsRefused() {
    var world = World.rack()
    let single = world.create("one", host: "a") {
      $0.upgrade = true
      $0.allowedPaths = [.mediated]
    }
    #expect(refusal(single).contains("allows one path alone"))
    let never = world.create("one", host: "a") {
      $0.upgrade = true
      $0.evictionPolicy = .never
    }
    #expect(refusal(never).contains("leave one of both out"))
    let disk = world.create("one", host: "a", deviceClass: "sata") { $0.upgrade = true }
    #expect(refusal(disk).contains("for functions that hold no data"))
  }
}
