import Messages
import Testing

@testable import Arbitration
@testable import Simulation

extension Answer {
  fileprivate var tenant: Tenant { if case .tenant(let tenant) = self { tenant } else { Tenant() } }
}

extension World {
  @discardableResult
  mutating func createTenant(
    _ name: String, weight: UInt32 = 0, functions: UInt32? = nil, bits: UInt64? = nil
  ) -> Result<Tenant, Refusal> {
    let request = CreateTenantRequest {
      $0.name = name
      $0.weight = weight
      if functions != nil || bits != nil { $0.quotas = [Self.quota(functions, bits)] }
    }
    return ask { .tenantCreated($0, request) }.map(\.tenant)
  }

  @discardableResult
  mutating func setTenant(
    _ name: String, weight: UInt32? = nil, functions: UInt32? = nil, force: Bool = false
  ) -> Result<Tenant, Refusal> {
    let request = SetTenantRequest {
      $0.name = name
      $0.weight = weight
      if functions != nil { $0.quotas = [Self.quota(functions)] }
      $0.force = force
    }
    return ask { .tenantSet($0, request) }.map(\.tenant)
  }

  @discardableResult
  fileprivate mutating func deleteTenant(_ name: String) -> Result<Tenant, Refusal> {
    ask { .tenantDeleted($0, DeleteTenantRequest { $0.name = name }) }.map(\.tenant)
  }

  private static func quota(_ functions: UInt32?, _ bits: UInt64? = nil) -> Quota {
    Quota {
      $0.deviceClass = "ethernet"
      $0.functions = functions
      $0.bitsPerSecond = bits
    }
  }

  fileprivate func use(_ tenant: String) -> UInt32 {
    arbiter.shownTenant(tenant)?.use.first { $0.deviceClass == "ethernet" }?.functions ?? 0
  }
}

extension FairShare {
  /// Of so many functions that none but functions counts.
  fileprivate init(of functions: Int, weight: UInt32) {
    self.init(of: Amount(functions: functions), in: Amount(functions: 1000), weight: weight)
  }
}

@Suite struct Tenants {
  private static let id = "ethernet/52:54:00:00:00:01"

  private func rack(functions: UInt32) -> World {
    var world = World.rack()
    world.hosts["a"]?.endNodes = [card(Self.id, functions: functions)]
    world.reportInventory("a")
    return world
  }

  private func create(
    _ world: inout World, _ name: String, _ tenant: String, priority: Int32 = 0, gigabits: UInt64 = 0
  ) -> Result<Claim, Refusal> {
    let result = world.create(name) {
      $0.tenant = tenant
      $0.priority = priority
      if gigabits > 0 {
        $0.attributes = Attributes {
          $0.ethernet = EthernetAttributes { $0.minTransmitBitsPerSecond = gigabits * 1_000_000_000 }
        }
      }
    }
    world.settle()
    return result
  }

  @Test func anUnknownOneIsRefusedAtOnce() throws {
    var world = rack(functions: 4)
    world.createTenant("lab")
    let refusal = create(&world, "web", "lob").refusal
    #expect(refusal?.code == .invalidArgument && refusal?.message.hasPrefix("there is no tenant 'lob'") == true)
    _ = try create(&world, "web", "lab").get()
    #expect(world.arbiter.listedTenants.map(\.name) == ["default", "lab"])
    #expect(world.use("lab") == 1 && world.use("default") == 0)
  }

  /// A member that keeps what it has on a disk does not go with the others, and asks its tenant's quota for nothing.
  @Test func whoStaysIsNotCountedAmongThoseThatMove() throws {
    var world = World.cards()
    world.createTenant("lab")
    world.apply([
      member("net") { $0.tenant = "lab" }, member("data", deviceClass: "sata") { $0.tenant = "lab" },
    ])
    world.settle()
    #expect(world.phases("net", "data") == [.ready, .ready])
    let before = world.endNode("net") ?? ""
    let request = SetTenantRequest {
      $0.name = "lab"
      $0.quotas = [
        Quota {
          $0.deviceClass = "sata"
          $0.functions = 0
        }
      ]
      $0.force = true
    }
    try _ = world.ask { .tenantSet($0, request) }.get()
    world.drain(.node(before))
    world.settle()
    world.pass(milliseconds: 4000)
    world.settle()
    #expect(world.phases("net", "data") == [.ready, .ready])
    #expect(world.endNode("net") != before)
  }

  @Test func allAreListedAsEachIsShown() throws {
    var world = rack(functions: 8)
    for name in ["lab", "idle", "web"] { world.createTenant(name) }
    for (name, tenant) in [("one", "lab"), ("two", "lab"), ("three", "web"), ("four", "")] {
      _ = try create(&world, name, tenant).get()
    }
    world.create("disk", host: "c", deviceClass: "sata") { $0.tenant = "lab" }
    world.settle()
    let listed = world.arbiter.listedTenants
    #expect(listed.map(\.name) == ["default", "idle", "lab", "web"])
    #expect(listed.map { $0.use.map(\.functions) } == [[1], [], [2, 1], [1]])
    #expect(listed[2].use.map(\.deviceClass) == ["ethernet", "sata"])
    #expect(listed == listed.compactMap { world.arbiter.shownTenant($0.name) })
    #expect(world.setTenant("lob").refusal?.message == "there is no tenant 'lob'; did you mean 'lab' or 'web'?")
    #expect(
      world.setTenant("nobody-at-all").refusal?.message
        == "there is no tenant 'nobody-at-all'; known tenants: default, idle, lab, web")
  }

  @Test func oneIsMadeOnceAndDeletedWhenItHasNoClaims() throws {
    var world = rack(functions: 4)
    _ = try world.createTenant("lab", weight: 2).get()
    _ = try world.createTenant("lab", weight: 2).get()
    #expect(world.createTenant("lab", weight: 3).refusal?.code == .alreadyExists)
    #expect(world.setTenant("lob", weight: 3).refusal?.code == .notFound)
    #expect(world.setTenant("lab", weight: 0).refusal?.code == .invalidArgument)
    #expect(world.deleteTenant("default").refusal?.code == .failedPrecondition)
    _ = create(&world, "web", "lab")
    #expect(world.deleteTenant("lab").refusal?.message.hasPrefix("there is 1 claim of tenant 'lab'") == true)
    world.restart()
    for name in ["a", "b", "c"] { world.connect(name) }
    #expect(world.arbiter.shownTenant("lab")?.weight == 2 && world.use("lab") == 1)
    world.delete("web")
    world.settle()
    _ = try world.deleteTenant("lab").get()
    #expect(!world.store.keys.contains { $0.kind == .tenant } && world.arbiter.hasEmptyIndexes)
  }

  @Test func whatIsAboveItsQuotaWaitsSaysSoAndIsGrantedWhenThereIsRoom() throws {
    var world = rack(functions: 8)
    world.createTenant("lab", functions: 1)
    _ = try create(&world, "one", "lab").get()
    _ = try create(&world, "two", "lab").get()
    #expect(world.phase("two") == .pending)
    let words = "the quota of tenant 'lab' is 1 functions of class ethernet; 1 are in use, and 1 more are asked for"
    #expect(world.reasons("two") == [words])
    #expect(try world.arbiter.explanation(of: "two").summary == "it waits: \(words)")
    _ = try create(&world, "other", "default").get()
    #expect(world.phase("other") == .ready)
    world.delete("one")
    world.settle()
    #expect(world.phase("two") == .ready && world.use("lab") == 1)
    _ = create(&world, "three", "lab")
    _ = try world.setTenant("lab", functions: 2).get()
    world.settle()
    #expect(world.phase("three") == .ready)
  }

  @Test func ratesThatArePromisedCountAsWell() throws {
    var world = rack(functions: 8)
    world.createTenant("lab", bits: 3_000_000_000)
    let refusal = create(&world, "huge", "lab", gigabits: 4).refusal
    #expect(
      refusal?.code == .failedPrecondition
        && refusal?.message.hasPrefix(
          "the claim asks for 4000000000 bit/s of class ethernet, and the quota of tenant 'lab'") == true
    )
    _ = try create(&world, "one", "lab", gigabits: 2).get()
    _ = try create(&world, "two", "lab", gigabits: 2).get()
    #expect(world.phase("two") == .pending)
    _ = try create(&world, "free", "lab").get()
    #expect(world.phase("free") == .ready)
    world.delete("one")
    world.settle()
    #expect(world.phase("two") == .ready)
  }

  @Test func aQuotaBelowUseIsRefusedUnlessItIsForced() throws {
    var world = rack(functions: 8)
    world.createTenant("lab")
    for name in ["one", "two"] { _ = try create(&world, name, "lab").get() }
    let refusal = world.setTenant("lab", functions: 1).refusal
    #expect(refusal?.code == .failedPrecondition)
    #expect(
      refusal?.message
        == "a quota of 1 functions of class ethernet is asked for, and claims of tenant 'lab' have 2; delete some, or set it all the same: --force"
    )
    _ = try world.setTenant("lab", functions: 1, force: true).get()
    #expect(world.use("lab") == 2)
    _ = create(&world, "three", "lab")
    world.delete("one")
    world.settle()
    #expect(world.phase("two") == .ready && world.phase("three") == .pending)
  }

  @Test func aTenantAtItsQuotaHasNobodyLetGo() throws {
    var world = rack(functions: 2)
    world.createTenant("lab", functions: 1)
    _ = try create(&world, "low", "lab").get()
    _ = try create(&world, "other", "default").get()
    _ = try create(&world, "urgent", "lab", priority: 9).get()
    #expect(world.phase("low") == .ready && world.phase("other") == .ready)
    #expect(world.claim("urgent")?.status?.preemption == nil && world.phase("urgent") == .pending)
  }

  @Test func aGroupIsGrantedNothingAboveItsQuota() throws {
    var world = rack(functions: 8)
    world.createTenant("lab", functions: 3)
    for name in ["one", "two"] { _ = try create(&world, name, "lab").get() }
    let group = ["w-1", "w-2"].map { name in
      CreateClaimRequest {
        $0.name = name
        $0.specification = ClaimSpecification {
          $0.deviceClass = "ethernet"
          $0.host = "b"
          $0.tenant = "lab"
          $0.priority = 9
          $0.group = "train"
        }
      }
    }
    try #require(world.apply(group).refusal == nil)
    world.settle()
    #expect(world.phase("one") == .ready && world.phase("two") == .ready, "nobody lets go of something for it")
    #expect(world.use("lab") == 2 && world.phase("w-1") == .pending && world.phase("w-2") == .pending)
    #expect(
      world.reasons("w-1") == [
        "the quota of tenant 'lab' is 3 functions of class ethernet; 2 are in use, and 2 more are asked for"
      ])
    world.delete("one")
    world.settle()
    #expect(world.use("lab") == 3 && world.phase("w-1") == .ready && world.phase("w-2") == .ready)
  }

  @Test func theTenantFurthestBelowItsShareIsNextWithItsOldestClaim() throws {
    var world = rack(functions: 6)
    world.createTenant("big", weight: 2)
    world.createTenant("small", weight: 1)
    for number in 0..<6 { _ = try create(&world, "first-\(number)", "default").get() }
    for number in 0..<6 { _ = try create(&world, "small-\(number)", "small").get() }
    for number in 0..<6 { _ = try create(&world, "big-\(number)", "big").get() }
    for number in 0..<6 {
      world.delete("first-\(number)")
      world.settle()
    }
    #expect(world.use("big") == 4 && world.use("small") == 2)
    let served = world.arbiter.listedClaims.filter { $0.status?.phase == .ready }.map(\.name)
    #expect(served == ["big-0", "big-1", "big-2", "big-3", "small-0", "small-1"])
  }

  /// Both wait, the one of `many` for longer, and one function is let go of. Answers who has it.
  private func served(_ world: inout World) throws -> String? {
    _ = try create(&world, "many-next", "many").get()
    _ = try create(&world, "wide-next", "wide").get()
    try #require(world.phase("many-next") == .pending && world.phase("wide-next") == .pending)
    world.delete("other")
    world.settle()
    return ["many-next", "wide-next"].first { world.phase($0) == .ready }
  }

  /// One card with 10 Gbit/s, all functions of which are in use: of one tenant one that has most of the rate, of another one two.
  private func cardOfOneWideAndTwoNarrow(gigabits: UInt64, functions: UInt32 = 4) throws -> World {
    var world = rack(functions: functions)
    for name in ["wide", "many"] { world.createTenant(name) }
    _ = try create(&world, "wide-1", "wide", gigabits: gigabits).get()
    for name in ["many-1", "many-2"] { _ = try create(&world, name, "many").get() }
    _ = try create(&world, "other", "default").get()
    return world
  }

  @Test func whoHasMostOfTheRateHasMoreThanWhoHasMoreFunctions() throws {
    var world = try cardOfOneWideAndTwoNarrow(gigabits: 9)
    #expect(try served(&world) == "many-next")
    // A quarter of the functions is more than a fifth of the rate.
    world = try cardOfOneWideAndTwoNarrow(gigabits: 2)
    #expect(try served(&world) == "wide-next")
    world = try cardOfOneWideAndTwoNarrow(gigabits: 9)
    _ = try world.setTenant("wide", weight: 2).get()
    #expect(try served(&world) == "wide-next", "nine tenths for a weight of two are less than a half for one of one")
  }

  @Test func theOrderOfSharesIsTheSameAfterARestart() throws {
    for gigabits in [2, 9] as [UInt64] {
      var world = try cardOfOneWideAndTwoNarrow(gigabits: gigabits)
      world.restart()
      for name in ["a", "b", "c"] { world.connect(name) }
      world.settle()
      #expect(try served(&world) == (gigabits == 9 ? "many-next" : "wide-next"))
    }
  }

  /// A card that shares itself in software has no number of functions.
  @Test func whereFunctionsHaveNoLimitThoseInUseAreAllThereAre() throws {
    func shares(_ gigabits: UInt64) throws -> (wide: FairShare, many: FairShare) {
      let arbiter = try cardOfOneWideAndTwoNarrow(gigabits: gigabits, functions: 0).arbiter
      let key = { TenantClass(tenant: $0, deviceClass: "ethernet") }
      return (arbiter.share(of: key("wide")), arbiter.share(of: key("many")))
    }
    #expect(try shares(4).wide < shares(4).many)
    #expect(try shares(5).wide == shares(5).many, "a half of the rate, and two of four functions")
    #expect(try shares(6).many < shares(6).wide)
  }

  @Test func aCardWithoutALinkMakesNobodyHaveMoreThanAllOfTheRate() throws {
    var world = try cardOfOneWideAndTwoNarrow(gigabits: 1)
    let key = { TenantClass(tenant: $0, deviceClass: "ethernet") }
    #expect(world.arbiter.share(of: key("wide")) < world.arbiter.share(of: key("many")))
    let before = world.arbiter.sharesRevision
    world.hosts["a"]?.endNodes[0].capacity?.bitsPerSecond = 0
    world.reportInventory("a")
    #expect(world.arbiter.sharesRevision != before)
    #expect(world.arbiter.share(of: key("many")) < world.arbiter.share(of: key("wide")))
    world.hosts["a"]?.endNodes[0].capacity?.bitsPerSecond = 10_000_000_000
    world.reportInventory("a")
    #expect(world.arbiter.share(of: key("wide")) < world.arbiter.share(of: key("many")))
  }

  @Test func sharesAreComparedExactlyHoweverLargeTheyAre() {
    func share(_ bits: UInt64, of all: UInt64, functions: Int = 0, _ weight: UInt32 = 1) -> FairShare {
      FairShare(
        of: Amount(functions: functions, rates: MinimumRates(bitsPerSecond: bits)),
        in: Amount(functions: 3, rates: MinimumRates(bitsPerSecond: all)), weight: weight)
    }
    let most = UInt64.max
    #expect(share(most / 3, of: most) == share(0, of: most, functions: 1))
    #expect(share(most / 3 - 1, of: most) < share(0, of: most, functions: 1))
    #expect(share(0, of: most, functions: 1) < share(most / 3 + 1, of: most))
    #expect(share(most, of: most, 1_000_000) < share(most / 999_999, of: most))
    #expect(share(most - 1, of: most, 1_000_000) < share(most, of: most, 1_000_000))
    #expect(share(7, of: 0) == share(0, of: most), "nobody has any of what there is none of")
  }

  @Test func whoeverWaitsIsServedInTheOrderOfSharesAndEveryoneIsServed() {
    var list = WaitingList()
    var functions: [String: Int] = [:]
    let weights: [String: UInt32] = ["a": 1, "b": 3, "c": 2]
    for (number, tenant) in ["a", "b", "c"].enumerated() {
      for index in 0..<40 {
        list.insert(
          WaitingList.Entry(
            priority: index < 4 ? 1 : 0, tenant: tenant, seconds: Int64(index), nanoseconds: Int32(number),
            uid: "\(tenant)\(index)", name: "\(tenant)\(index)"))
      }
    }
    var serving = Serving()
    var served: [WaitingList.Entry] = []
    while let next = serving.next(
      of: list, revision: UInt64(served.count),
      share: { FairShare(of: functions[$0] ?? 0, weight: weights[$0] ?? 1) })
    {
      served.append(next)
      functions[next.tenant, default: 0] += 1
      list.remove(next)
    }
    #expect(served.count == 120 && Set(served.map(\.name)).count == 120)
    #expect(served.prefix(12).allSatisfy { $0.priority == 1 })
    for tenant in weights.keys {
      let own = served.filter { $0.tenant == tenant && $0.priority == 0 }.map(\.seconds)
      #expect(own == own.sorted())
    }
    // While all of them wait, one in two is of the tenant with half of all weights, and one in six of the one with a sixth.
    let first = served.prefix(60)
    #expect(first.filter { $0.tenant == "b" }.count == 30 && first.filter { $0.tenant == "a" }.count == 10)
  }

  /// A round goes on over many events, in which claims come and go.
  @Test func whoHasGoneIsPassedByAndThoseBehindItAreNot() {
    var list = WaitingList()
    let entries = ["a", "b"].flatMap { tenant in
      (0..<4).map { index in
        WaitingList.Entry(
          priority: 0, tenant: tenant, seconds: Int64(index), nanoseconds: 0, uid: "", name: "\(tenant)\(index)")
      }
    }
    for entry in entries { list.insert(entry) }
    var serving = Serving()
    var served: [String] = []
    func next() -> WaitingList.Entry? {
      serving.next(of: list, revision: 0) { FairShare(of: $0 == "a" ? 0 : 1, weight: 1) }
    }
    served.append(next()?.name ?? "")
    for entry in entries where ["a1", "a2", "b3"].contains(entry.name) { list.remove(entry) }
    while let entry = next() { served.append(entry.name) }
    #expect(served == ["a0", "a3", "b0", "b1", "b2"])
  }
}
