package scrub

// detector names one kind of value that gives itself away.
type detector uint8

const (
	detEmail detector = iota
	detPAN
	detIBAN
	detSSN
	detPhone
	detIP
	detJWT
	detPrivateKey
	detAPIKey
	detBearer
	detBasic
	detConnString
	numDetectors
	detOpaque = numDetectors     // an encoded value that could not be opened
	detField  = numDetectors + 1 // a line of the schema
)

var detectorNames = [numDetectors]string{"email", "pan", "iban", "ssn", "phone", "ip", "jwt", "private_key", "api_key", "bearer", "basic", "conn_string"}

func detectorByName(name string) (detector, bool) {
	for i, n := range detectorNames {
		if n == name {
			return detector(i), true
		}
	}
	return 0, false
}

// hit is a span that must not stay as it is.
type hit struct {
	start, end int
	from       int  // where what decides begins, e.g. the name; 0 for start
	open       byte // the quote that ends the value beyond the text
	det        detector
	field      *field // for detField
	val        []byte // the decoded value, if it isn't what stands in the span
	rep        []byte // what the span becomes, if that is known already
	quote      string // what a JSON value without quotes needs around it
}

// state is what one scan gathers.
type state struct {
	hits    []hit
	escaped int // end of the line that was decoded as a whole already
	jwt     int // end of the run that was looked at for one
	key     int // likewise
	percent int // end of the run that was decoded already
	depth   int
	more    bool // text follows that isn't there yet
	hold    int  // what begins here may go on there; 0 if nothing does
}

func (st *state) add(start, end int, d detector) {
	st.hits = append(st.hits, hit{start: start, end: end, det: d})
}
