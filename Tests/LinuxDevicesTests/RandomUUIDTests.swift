import LinuxDevices
import Testing

struct RandomUUIDTests {
  @Test func isOfVersion4AndNeverTheSame() throws {
    let made = (0..<1000).map { _ in randomUUID() }
    let form = /[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/
    #expect(try made.allSatisfy { try form.wholeMatch(in: $0) != nil })
    #expect(Set(made).count == made.count)
    // Every digit that is free is drawn.
    for place in made[0].indices where !["-", "4"].contains(made[0][place]) {
      #expect(Set(made.map { $0[place] }).count >= 4)
    }
  }
}
