package scheduler

// A queue holds tasks in order. Taking from the front and adding at either end
// cost the same whatever its length.
type queue struct {
	items []*task
	head  int // items before it are taken
}

func (q *queue) len() int { return len(q.items) - q.head }

func (q *queue) push(t *task) { q.items = append(q.items, t) }

// unshift adds t in front of all others.
func (q *queue) unshift(t *task) {
	if q.head == 0 {
		room := q.len() + 16
		q.items = append(make([]*task, room, 2*room), q.items...)
		q.head = room
	}
	q.head--
	q.items[q.head] = t
}

// shift takes the first task; the queue must have one.
func (q *queue) shift() *task {
	t := q.items[q.head]
	q.items[q.head] = nil
	q.head++
	switch {
	case q.head == len(q.items):
		q.items, q.head = q.items[:0], 0
	case q.head > 64 && q.head > len(q.items)/2:
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return t
}

func (q *queue) peek() *task { return q.items[q.head] }
