import Messages

/// What a tenant's claims of one class have, or what there is of it.
struct Amount: Equatable, Sendable {
  var functions = 0
  var rates = MinimumRates()

  mutating func add(_ other: Amount) {
    functions += other.functions
    rates.add(other.rates)
  }

  mutating func subtract(_ other: Amount) {
    functions -= other.functions
    rates.subtract(other.rates)
  }

  /// What one more claim asks for.
  mutating func add(_ specification: ClaimSpecification) {
    add(specification.attributes?.minimumRates ?? MinimumRates())
  }

  /// One more function with these.
  mutating func add(_ rates: MinimumRates) {
    functions += 1
    self.rates.add(rates)
  }
}

extension Amount {
  fileprivate init(of assignment: Assignment) {
    self.init(functions: 1, rates: assignment.attributes?.minimumRates ?? MinimumRates())
  }
}

struct TenantClass: TableKey {
  typealias Kept = WholeHash

  var tenant: String
  var deviceClass: String

  var scattered: UInt64 { Scattering.mix(tenant.scattered, deviceClass.scattered) }
}

/// Claims are made for tenants, of which each has a weight, by which functions and rates are shared out where they are short, and quotas,
/// above which it is granted nothing.
extension Arbiter {
  private static var mostWeight: UInt32 { 1_000_000 }
  private static var mostQuotas: Int { 64 }

  /// The one called default is there without a record.
  func tenant(_ name: String) -> Tenant? {
    tenants[name] ?? (name == Tenant.defaultName ? Tenant(named: name, weight: 1) : nil)
  }

  public func shownTenant(_ name: String) -> Tenant? {
    tenant(name).map { shown($0, with: uses.keys.filter { $0.tenant == name }) }
  }

  /// By name.
  public var listedTenants: [Tenant] {
    let keys = Dictionary(grouping: uses.keys, by: \.tenant)
    return tenantNames.sorted().compactMap { name in tenant(name).map { shown($0, with: keys[name] ?? []) } }
  }

  private var tenantNames: Set<String> { Set(tenants.keys).union([Tenant.defaultName]) }

  /// - Parameter keys: those of what its claims have.
  private func shown(_ tenant: Tenant, with keys: [TenantClass]) -> Tenant {
    var tenant = tenant
    tenant.use = keys.sorted { $0.deviceClass < $1.deviceClass }.map { key in
      let use = use(of: key)
      return TenantUse {
        $0.deviceClass = key.deviceClass
        $0.functions = UInt32(clamping: use.functions)
        $0.bitsPerSecond = use.rates.bitsPerSecond
        $0.operationsPerSecond = use.rates.operationsPerSecond
        $0.bytesPerSecond = use.rates.bytesPerSecond
      }
    }
    return tenant
  }

  // MARK: Making, changing and deleting

  mutating func createTenant(_ request: CreateTenantRequest) throws(Refusal) -> Tenant {
    if let problem = Names.problem(with: request.name, of: "tenant") { throw Refusal(.invalidArgument, problem) }
    var wanted = Tenant(named: request.name, weight: request.weight == 0 ? 1 : request.weight)
    for quota in request.quotas { wanted.set(quota) }
    try check(wanted)
    try checkClasses(of: request.quotas)
    if let existing = tenant(request.name) {
      guard existing == wanted else {
        throw Refusal(
          .alreadyExists,
          "tenant '\(request.name)' exists with another weight or other quotas; change it: iov tenant set \(request.name)"
        )
      }
      return shownTenant(request.name) ?? existing
    }
    put(wanted)
    return shownTenant(request.name) ?? wanted
  }

  mutating func setTenant(_ request: SetTenantRequest) throws(Refusal) -> Tenant {
    guard let before = tenant(request.name) else { throw unknownTenant(request.name) }
    var wanted = before
    if let weight = request.weight { wanted.weight = weight }
    for quota in request.quotas { wanted.set(quota) }
    try check(wanted)
    try checkClasses(of: request.quotas)
    if !request.force {
      for quota in request.quotas { try checkUse(of: request.name, beside: quota) }
    }
    if wanted != before {
      put(wanted)
      for deviceClass in waiting.keys { noteRoom(for: TenantClass(tenant: request.name, deviceClass: deviceClass)) }
    }
    return shownTenant(request.name) ?? wanted
  }

  mutating func deleteTenant(_ name: String) throws(Refusal) -> Tenant {
    guard let tenant = tenant(name) else { throw unknownTenant(name) }
    guard name != Tenant.defaultName else {
      throw Refusal(
        .failedPrecondition,
        "the tenant '\(name)' is the one of claims that name none, and always there; its weight and quotas can be set")
    }
    let count = claimsOfTenant[name] ?? 0
    guard count == 0 else {
      let words = count == 1 ? "there is 1 claim" : "there are \(count) claims"
      throw Refusal(.failedPrecondition, "\(words) of tenant '\(name)'; delete them first: iov claim list")
    }
    tenants[name] = nil
    changes.save(RecordKey(.tenant, name))
    _ = nextRevision()
    return tenant
  }

  private mutating func put(_ tenant: Tenant) {
    tenants[tenant.name] = tenant
    usesRevision += 1
    changes.save(RecordKey(.tenant, tenant.name))
    _ = nextRevision()
  }

  func unknownTenant(_ name: String) -> Refusal {
    Refusal(
      .notFound,
      "there is no tenant '\(Names.shown(name))'"
        + Names.suggestion(for: name, among: Array(tenantNames), of: "tenants"))
  }

  private func check(_ tenant: Tenant) throws(Refusal) {
    guard (1...Self.mostWeight).contains(tenant.weight) else {
      throw Refusal(.invalidArgument, "a weight of \(tenant.weight) is asked for; weights are 1 to \(Self.mostWeight)")
    }
    guard tenant.quotas.count <= Self.mostQuotas else {
      throw Refusal(
        .invalidArgument, "quotas of \(tenant.quotas.count) classes are asked for; \(Self.mostQuotas) are the most")
    }
  }

  private func checkClasses(of quotas: [Quota]) throws(Refusal) {
    var seen: Set<String> = []
    for quota in quotas {
      try validateClass(quota.deviceClass)
      guard seen.insert(quota.deviceClass).inserted else {
        throw Refusal(.invalidArgument, "two quotas of the class \(quota.deviceClass) are given")
      }
    }
  }

  private func checkUse(of tenant: String, beside quota: Quota) throws(Refusal) {
    let use = use(of: TenantClass(tenant: tenant, deviceClass: quota.deviceClass))
    for limit in quota.limits(use, asked: Amount()) where limit.used > limit.limit {
      throw Refusal(
        .failedPrecondition,
        "a quota of \(limit.limit) \(limit.unit) of class \(quota.deviceClass) is asked for, and claims of tenant '\(tenant)' have "
          + "\(limit.used); delete some, or set it all the same: --force")
    }
  }

  // MARK: Use

  func use(of key: TenantClass) -> Amount { uses[key] ?? Amount() }

  mutating func takeUse(_ assignment: Assignment, of specification: ClaimSpecification) {
    let taken = Amount(of: assignment)
    let key = specification.tenantClass
    usesRevision += 1
    if usesOfClass.change(key.deviceClass, { $0.add(taken) }) == nil { usesOfClass[key.deviceClass] = taken }
    if uses.change(key, { $0.add(taken) }) == nil { uses[key] = taken }
  }

  mutating func freeUse(_ assignment: Assignment, of specification: ClaimSpecification) {
    let key = specification.tenantClass
    guard var use = uses[key], var all = usesOfClass[key.deviceClass] else { return }
    usesRevision += 1
    // A group may need more than one.
    let isRoom = isUsedUp(key) || quota(of: key).map { $0.limitsRates || !claimsOfGroup.isEmpty } ?? false
    let freed = Amount(of: assignment)
    use.subtract(freed)
    all.subtract(freed)
    uses[key] = use.functions == 0 ? nil : use
    usesOfClass[key.deviceClass] = all.functions == 0 ? nil : all
    if isRoom { noteRoom(for: key) }
  }

  /// A quota that was used up may not be so any more.
  private mutating func noteRoom(for key: TenantClass) { changes.openings.tenants.insert(key) }

  mutating func noteClaim(of specification: ClaimSpecification, by difference: Int) {
    claimsOfTenant.add(difference, to: specification.tenantName)
  }

  // MARK: In placement

  func validateTenant(of specification: ClaimSpecification) throws(Refusal) {
    // The one that everybody has, without a quota.
    guard !tenants.isEmpty || !specification.tenant.isEmpty else { return }
    let name = specification.tenantName
    guard let tenant = tenant(name) else {
      let refusal = unknownTenant(name)
      throw Refusal(.invalidArgument, refusal.message)
    }
    guard let quota = tenant.quota(of: specification.deviceClass) else { return }
    let asked = Amount(functions: 1, rates: specification.attributes?.minimumRates ?? MinimumRates())
    for limit in quota.limits(Amount(), asked: asked) where limit.asked > limit.limit {
      throw Refusal(
        .failedPrecondition,
        "the claim asks for \(limit.asked) \(limit.unit) of class \(specification.deviceClass), and the quota of tenant '\(name)' is "
          + "\(limit.limit): ask for less, or for a higher quota: iov tenant show \(name)")
    }
  }

  /// That a claim's tenant has all that it may have, what others let go of for its claims included; nil if there is room.
  ///
  /// - Parameter others: that are granted something in the same moment.
  func obstacle(
    ofQuotaOf specification: ClaimSpecification, beside others: [ClaimSpecification] = []
  ) -> Drop? {
    let key = specification.tenantClass
    guard let quota = quota(of: key) else { return nil }
    var asked = Amount()
    for specification in [specification] + others where specification.tenantClass == key { asked.add(specification) }
    return drop(of: quota, of: key, useWithNominations(of: key, for: specification), asked)
  }

  /// The same for one that has a function, and would let go of it for another one, as would all of its group: what its tenant has may be
  /// more than its quota by now. It keeps what it has, and would be given nothing for it.
  func obstacle(ofQuotaOfMoving state: ClaimState) -> Drop? {
    guard !tenants.isEmpty else { return nil }
    let moving = [state] + matesThatGo(with: state) + mates(of: state).filter { $0.phase == .pending }
    for deviceClass in Set(moving.map(\.specification.deviceClass)).sorted() {
      let key = TenantClass(tenant: state.specification.tenantName, deviceClass: deviceClass)
      guard let quota = quota(of: key) else { continue }
      var (use, asked) = (useWithNominations(of: key, for: state.specification), Amount())
      for state in moving where state.specification.tenantClass == key {
        if let assignment = state.assignment { use.subtract(Amount(of: assignment)) }
        asked.add(state.specification)
      }
      if let drop = drop(of: quota, of: key, use, asked) { return drop }
    }
    return nil
  }

  private func drop(of quota: Quota, of key: TenantClass, _ use: Amount, _ asked: Amount) -> Drop? {
    for limit in quota.limits(use, asked: asked) {
      let (sum, isTooMuch) = limit.used.addingReportingOverflow(limit.asked)
      guard limit.asked > 0, isTooMuch || sum > limit.limit else { continue }
      return Drop(
        .quota,
        "the quota of tenant '\(key.tenant)' is \(limit.limit) \(limit.unit) of class \(key.deviceClass); \(limit.used) are in use, and "
          + "\(limit.asked) more are asked for")
    }
    return nil
  }

  private func useWithNominations(of key: TenantClass, for specification: ClaimSpecification) -> Amount {
    var use = use(of: key)
    for nomination in nominations.values.joined() where nomination.tenantClass == key {
      guard nomination.priority >= specification.priority else { continue }
      use.functions += 1
      use.rates.add(nomination.share.rates)
    }
    return use
  }

  /// Nil: there is none. Most clusters have none at all.
  func quota(of key: TenantClass) -> Quota? {
    tenants.isEmpty ? nil : tenants[key.tenant]?.quota(of: key.deviceClass)
  }

  /// Whether it can be granted no function at all, whatever is asked for.
  func isUsedUp(_ key: TenantClass) -> Bool {
    guard let limit = quota(of: key)?.functions else { return false }
    return use(of: key).functions >= Int(limit)
  }

  /// What a tenant has of a class, beside its weight.
  func share(of key: TenantClass) -> FairShare {
    FairShare(of: use(of: key), in: total(ofClass: key.deviceClass), weight: tenants[key.tenant]?.weight ?? 1)
  }

  /// What the end nodes have; or what is in use, where that is more because some of them have no limit, or a card without a link does
  /// not say how fast it is. So nobody has more than all of something.
  private func total(ofClass deviceClass: String) -> Amount {
    let (there, used) = (endNodes.capacity(ofClass: deviceClass), usesOfClass[deviceClass] ?? Amount())
    return Amount(
      functions: max(there.functions, used.functions),
      rates: MinimumRates(
        bitsPerSecond: max(there.rates.bitsPerSecond, used.rates.bitsPerSecond),
        operationsPerSecond: max(there.rates.operationsPerSecond, used.rates.operationsPerSecond),
        bytesPerSecond: max(there.rates.bytesPerSecond, used.rates.bytesPerSecond)))
  }
}

/// How much of its share somebody has: the lower one is next. It is told by that of which somebody has the largest part, as in "Dominant
/// Resource Fairness" (Ghodsi et al., NSDI 2011).
struct FairShare: Comparable {
  private var used: UInt64 = 0
  private var total: UInt64 = 1
  private var weight: UInt32

  init(of use: Amount, in all: Amount, weight: UInt32) {
    self.weight = weight
    take(UInt64(clamping: use.functions), of: UInt64(clamping: all.functions))
    take(use.rates.bitsPerSecond, of: all.rates.bitsPerSecond)
    take(use.rates.operationsPerSecond, of: all.rates.operationsPerSecond)
    take(use.rates.bytesPerSecond, of: all.rates.bytesPerSecond)
  }

  private mutating func take(_ used: UInt64, of total: UInt64) {
    guard total > 0, UInt128(used) * UInt128(self.total) > UInt128(self.used) * UInt128(total) else { return }
    (self.used, self.total) = (used, total)
  }

  // Exact: of rounded numbers those that are equal might not be.
  static func < (one: FairShare, other: FairShare) -> Bool {
    let (mine, theirs) = (UInt128(one.used) * UInt128(other.weight), UInt128(other.used) * UInt128(one.weight))
    guard one.total != other.total else { return mine < theirs }
    let (whole, rest) = mine.quotientAndRemainder(dividingBy: UInt128(one.total))
    let (otherWhole, otherRest) = theirs.quotientAndRemainder(dividingBy: UInt128(other.total))
    guard whole == otherWhole else { return whole < otherWhole }
    return rest * UInt128(other.total) < otherRest * UInt128(one.total)
  }

  static func == (one: FairShare, other: FairShare) -> Bool { !(one < other) && !(other < one) }
}

/// One number of a quota.
private struct Limit {
  var unit: String
  var limit: UInt64
  var used: UInt64
  var asked: UInt64
}

extension Tenant {
  fileprivate init(named name: String, weight: UInt32) {
    self.init()
    self.name = name
    self.weight = weight
  }

  func quota(of deviceClass: String) -> Quota? { quotas.first { $0.deviceClass == deviceClass } }

  fileprivate mutating func set(_ quota: Quota) {
    quotas.removeAll { $0.deviceClass == quota.deviceClass }
    if quota.isLimiting { quotas.append(quota) }
    quotas.sort { $0.deviceClass < $1.deviceClass }
  }
}

extension Quota {
  fileprivate var isLimiting: Bool { functions != nil || limitsRates }

  fileprivate var limitsRates: Bool { bitsPerSecond != nil || operationsPerSecond != nil || bytesPerSecond != nil }

  fileprivate func limits(_ use: Amount, asked: Amount) -> [Limit] {
    let (rates, more) = (use.rates, asked.rates)
    let all: [(String, UInt64?, UInt64, UInt64)] = [
      ("functions", functions.map { UInt64($0) }, UInt64(use.functions), UInt64(asked.functions)),
      ("bit/s", bitsPerSecond, rates.bitsPerSecond, more.bitsPerSecond),
      ("operations per second", operationsPerSecond, rates.operationsPerSecond, more.operationsPerSecond),
      ("bytes per second", bytesPerSecond, rates.bytesPerSecond, more.bytesPerSecond),
    ]
    return all.compactMap { unit, limit, used, asked in
      limit.map { Limit(unit: unit, limit: $0, used: used, asked: asked) }
    }
  }
}

extension ClaimSpecification {
  var tenantClass: TenantClass { TenantClass(tenant: tenantName, deviceClass: deviceClass) }
}
