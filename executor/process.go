package executor

import "os"

// A way is a way to start a child.
type way struct {
	spaces bool
	id     int // user and group that it runs as, where spaces
}

// A process is a child as the operating system has it.
type process struct {
	proc *os.Process
	sock *os.File // the control socket
	errs *os.File // what it wrote to stderr, as far as a pipe holds it

	group     *group // nil if it has none
	ungrouped error  // why
}

// know puts in what a child cannot know of the layers around it.
func (p *process) know(layers []Layer) []Layer {
	for i := range layers {
		if l := &layers[i]; l.Name == nameCgroup {
			if l.On = p.group != nil; p.ungrouped != nil {
				l.Detail = clip(p.ungrouped.Error())
			}
		}
	}
	return layers
}

// lastWords gives what a dead child wrote to stderr, bounded, for people.
func (p *process) lastWords() string {
	buf := make([]byte, maxText)
	n, _ := p.errs.Read(buf)
	return clip(string(buf[:max(n, 0)]))
}

const wordsForbidden = "it made a system call that is not allowed"

// end kills the process and waits for its death.
func (p *process) end() (words string) {
	p.proc.Kill()
	state, _ := p.proc.Wait()
	words = p.lastWords() // its end of the pipe is closed: this does not block
	if cause := p.group.remove(); cause != "" {
		words = cause
	} else if forbidden(state) {
		words = wordsForbidden
	}
	p.sock.Close()
	p.errs.Close()
	return words
}

// childOverhead is how much memory a child may use besides what the task asked
// for: the engine, a stack of 100 MB at most and its copy, compiled code.
const childOverhead = 512 << 20

// maxRSS is the most resident memory of a child that runs a task with these
// limits. Files in memory cost up to twice their size.
func maxRSS(memory, disk uint64) uint64 { return memory + 2*disk + childOverhead }
