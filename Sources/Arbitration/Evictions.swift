/// The claims that have let go of one function and have yet to get another: what they had of each class together.
struct Evictions: Triable {
  struct Load {
    var functions = 0
    var bytes: UInt64 = 0
  }

  private var ofClaim = Table<String, Entry>()
  private var ofClass = Table<String, Load>()

  private struct Entry {
    var deviceClass: String
    var bytes: UInt64
  }

  var isEmpty: Bool { ofClaim.isEmpty && ofClass.isEmpty }

  func load(ofClass deviceClass: String) -> Load { ofClass[deviceClass] ?? Load() }

  mutating func insert(_ state: ClaimState) {
    remove(state.claim.name)
    let entry = Entry(deviceClass: state.specification.deviceClass, bytes: state.assignment?.sizeBytes ?? 0)
    ofClaim[state.claim.name] = entry
    ofClass[entry.deviceClass, default: Load()].functions += 1
    ofClass[entry.deviceClass, default: Load()].bytes &+= entry.bytes
  }

  mutating func remove(_ name: String) {
    guard let entry = ofClaim[name] else { return }
    ofClaim.removeValue(forKey: name)
    var load = load(ofClass: entry.deviceClass)
    load.functions -= 1
    load.bytes &-= entry.bytes
    ofClass[entry.deviceClass] = load.functions > 0 ? load : nil
  }

  mutating func beginTrial() {
    ofClaim.beginTrial()
    ofClass.beginTrial()
  }

  mutating func endTrial(keeping: Bool) {
    ofClaim.endTrial(keeping: keeping)
    ofClass.endTrial(keeping: keeping)
  }
}
