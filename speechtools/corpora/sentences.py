"""English sentences for the built-in corpus, written for it: 6 to 14 words each, all distinct, of mixed sounds.

``SA`` are the two that every speaker says, ``SX`` those that several speakers share, ``SI`` those that one speaker
alone says, as in TIMIT's design (Garofolo et al., "DARPA TIMIT acoustic-phonetic continuous speech corpus", 1993);
none is TIMIT's. Where more are wanted than ``SI`` holds, :func:`composed` goes on from a small grammar.
"""

from collections.abc import Iterator

import numpy as np

#: Said by everyone: between them, most vowels, and the consonants on which English accents part.
SA = (
    "Our father took the bird bath out of the northern garden last Tuesday.",
    "I would rather park your new car nearer the bottom of the hill.",
)

SX = tuple(
    """
The gardener watered seven yellow tulips before breakfast.
My cousin repairs old wooden boats near the harbour.
She asked why the museum closes early on Thursdays.
Thick fog hid the bridge from both drivers.
A loose button rolled under the piano bench.
He measured the flour twice and forgot the salt.
Three noisy geese chased the postman down our lane.
The choir practised quietly behind the heavy curtain.
Nobody noticed the beige envelope on the hall table.
You should oil those hinges before winter comes.
Her younger brother juggles oranges to amuse the children.
The pharmacist wrapped each bottle in brown paper.
Our train waited an hour outside the snowy station.
Please return the borrowed ladder by noon tomorrow.
The judge weighed every word of the short letter.
A sudden gust blew six hats into the fountain.
They painted the kitchen ceiling a pale shade of green.
The violin teacher lives above the fish shop.
Fresh ginger gives this soup its pleasant bite.
I thought the thirsty horse would drink the pond dry.
The museum guard yawned and checked his watch again.
Both twins voted for the shorter route home.
George usually chews gum during long meetings.
The old elevator shook as it reached the fifth floor.
We pitched our tent beside a shallow, muddy creek.
Her voice sounded hoarse after the football match.
The plumber found a silver spoon inside the pipe.
An owl watched us from the roof of the barn.
My aunt keeps bees, rabbits and one lazy donkey.
The bakery sells warm rolls from six each morning.
He folded the map and pointed toward the valley.
Which of these keys opens the cellar door?
The lawyer owned a huge collection of glass frogs.
Rough weather delayed the ferry until midnight.
You may choose either the blue mug or the white one.
The child drew a purple whale with tiny wings.
Cheap paint peels quickly in the damp sea air.
Our neighbour whistles while trimming his hedge.
The pilot thanked everyone for their patience.
A broken fence will not keep those sheep at home.
She bought twelve yards of rough cotton cloth.
The orchestra tuned for nearly twenty minutes.
I often dream about a city without any cars.
The chef chopped onions and tried not to weep.
Their house stands between a church and a brewery.
The huge machine polished stones for jewellery.
Why does the dog bark whenever you play that tune?
The referee blew her whistle and raised a yellow card.
Put the fragile vase on the highest shelf.
He earns enough by selling pictures of clouds.
The toy robot marched off the edge of the desk.
The village doctor still visits patients by bicycle.
Soft rain fell on the roof throughout the night.
The usual bus was full, so we walked to school.
My grandmother hides coins in an empty tea tin.
Few people know how this clever trick works.
The moth circled the lamp and vanished into the dark.
You could hear the waterfall a mile away.
The young painter mixed ochre with a drop of azure.
Each spring the river carries mud across these fields.
A cautious driver leaves plenty of space ahead.
The clerk stamped nine forms without looking up.
The judges praised his joyful yet simple dance.
We found an ancient coin beneath the apple tree.
The theatre smelled of dust, velvet and oranges.
I owe you four pounds for the concert ticket.
Two sleepy cats shared the only patch of sunshine.
The mechanic wiped the grease off both his thumbs.
She rehearsed her speech in front of a mirror.
The path zigzags up the slope to a stone hut.
Good cheese should never be kept in plastic.
The boys built a raft out of barrels and rope.
His watch loses about five minutes a week.
Every cup in the cupboard had a chipped edge.
The beach was empty except for one yellow kite.
The editor crossed out half of the first page.
They usually measure the depth with a weighted string.
Our guide knew the name of every mushroom.
A large crowd cheered as the ship left the dock.
The nurse warmed her hands around a bowl of broth.
Turn left at the chapel and follow the brook.
The bride wore boots because the grass was wet.
The poor fellow tripped over his own suitcase.
He chose the thinnest brush for the eyelashes.
Icy roads made the journey slower than usual.
The puzzle took us three evenings to finish.
Their daughter studies the weather on other planets.
The butcher sharpened his knife with great care.
Someone has left a wet umbrella in the lift.
The shopkeeper counted the change out loud.
The drummer lost a stick in the second verse.
No bird sang while the hawk was overhead.
I shall write to the mayor about these holes in the road.
The kettle boils faster if you close the lid.
A narrow staircase leads up to the bell tower.
Those leather shoes pinch both of my little toes.
The farmer thinks the drought will last till August.
Her job is to test new flavours of ice cream.
The thief escaped through a hole in the hedge.
We moved the sofa nearer to the fireplace.
This jacket is too thin for such chilly weather.
The poet hated loud parties and bright lights.
The goat chewed through the rope in an hour.
Ask the porter where the night bus leaves from.
The captain buried his treasure under a fig tree.
Most visitors enjoy the view more than the food.
The teacher drew a circle around the wrong answer.
The lighthouse keeper grows roses and tall beans.
Smoke curled from the chimney of the empty mill.
I would love a quiet weekend beside the lake.
The carpenter sanded the oak door until it shone.
You never told me that your uncle was a juggler.
The mayor opened the new pool by jumping in.
The cloth feels rough, but it washes very well.
The red squirrel buries more nuts than it needs.
The wind changed, and the boat began to drift.
A wise cook tastes the sauce before serving it.
He pushed the huge cart uphill without a pause.
The printer jams whenever the paper is damp.
The snow had melted by the third of March.
The choice between them was harder than I thought.
Our class planted fourteen birches along the avenue.
The actress forgot her lines and began to laugh.
There is a draught coming from under that door.
The singer held the final note for ages.
They served thick slices of bread with plum jam.
The cyclist wore a bright orange vest at dusk.
Nothing grows in the shade of the big walnut tree.
The vicar found a hedgehog asleep in his boot.
She unrolled the carpet and opened both windows.
The zoo bought a pair of young giraffes.
""".strip().splitlines()
)

SI = tuple(
    """
The last tram leaves the square at twenty to one.
I cannot find the other half of this ticket.
Grandfather taught us to whistle through a blade of grass.
The jeweller examined the ruby under a strong lens.
A pair of swans nested behind the boathouse.
The students argued cheerfully about the shape of the earth.
He always waters the ferns before feeding the fish.
Our hotel overlooked a car park and a tiny orchard.
The coach shouted until his face turned purple.
The cave was cooler than the forest around it.
My sister collects postcards of lighthouses and bridges.
You ought to thank the woman who found your purse.
The soldiers polished their boots by candlelight.
The queue moved forward one slow step at a time.
They say the well behind the abbey never runs dry.
The waiter balanced seven plates along one arm.
Her first novel sold fewer than a hundred copies.
The bus driver hummed an unusual melody.
A thin layer of ice covered the bird bath.
The inventor showed us a chair made of cork.
We shared a pot of mint tea on the terrace.
The tailor needs another fortnight for the trousers.
His speech was brief, dull and quite impossible to hear.
The lizard froze when my shadow touched the wall.
Jupiter was shining brightly over the southern hills.
The baby threw her porridge at the new wallpaper.
I heard footsteps, but the corridor was empty.
Their rowing team trains every day before sunrise.
The bank closed its smallest branch in the spring.
The archer missed the target and hit the scoreboard.
She peels potatoes faster than any machine.
The old bell cracked on a frosty morning.
The council will mend the pavement next month.
A friendly ghost is said to live in the attic.
He put the thermometer back in its leather case.
The choir sang two hymns and an old sea song.
Wild garlic grows thickly along the footpath.
The reporter asked the same question three times.
Our cat refuses to drink from her own bowl.
The engine driver waved to the children on the bridge.
The dentist told a joke about a nervous crocodile.
You will need a shovel, a rope and some patience.
The juice left a stain on the yellow cushion.
Both sisters inherited their father's sense of humour.
The potter threw away every jug with a flaw.
The gate squeaks unless you lift it slightly.
Few tourists ever visit the northern side of the island.
The hunter followed the tracks as far as the frozen river.
We laughed so loudly that the neighbours complained.
The fisherman mended his nets in the weak sunshine.
I forgot to post the birthday card to Ruth.
The clock in the hall chimes thirteen times at noon.
A pigeon walked calmly through the open bank.
The tourists photographed the bakery instead of the castle.
Her umbrella turned inside out at the corner.
The builder promised to finish before the holidays.
The committee voted to change the colour of the flag.
He read the recipe aloud while she stirred.
The tide washed away our castle of sand and shells.
My boss never answers the telephone after five.
The hikers shared their last bar of chocolate.
The museum shop sells copies of the famous mask.
Someone in the third row was snoring gently.
The lamp flickered twice and then went out.
The boxer grew vegetables in his spare time.
They rode their bikes along the disused railway.
The path through the marsh is safe until dusk.
A spider had spun its web across the letter box.
The girl with the green scarf won the spelling prize.
The ship's cook came from a village in the mountains.
I would have called, but I lost your number.
The vet bandaged the puppy's left hind leg.
The curtains were drawn, although it was still light.
Our professor explains everything with apples and string.
The gravel crunched under the wheels of the van.
The winner received a goose and a box of pears.
She speaks four languages, but sings in only one.
The wooden bridge sways when more than two people cross.
An apprentice swept the workshop every evening.
The bread rose too quickly and burst its tin.
Both umbrellas were left on the early train.
The mountain looked blue in the distance.
The sculptor carved a bear from a single block of ice.
His handwriting resembles the path of a drunken ant.
The pump has been out of order since July.
The guests arrived in pairs, all dressed as pirates.
The fox crossed the lawn without making a sound.
You can borrow my bicycle if you pump up the tyres.
The library smells faintly of coffee and old glue.
The secretary filed the report under the wrong letter.
Thunder rolled around the valley for half an hour.
The cinema shows silent films on the first Monday.
A cheerful fire was burning in the guard's hut.
The queen opened the bridge with a pair of golden scissors.
They measured the oak and guessed its age.
The barber told me more about chess than about hair.
We shall have to push the car as far as the garage.
The little theatre was sold out for the first time.
The chemist keeps the poison in a locked drawer.
My uncle wears two watches, and both are slow.
The rope was too short to reach the bottom of the well.
Every member of the band plays at least two instruments.
The cows gathered under the only tree in the field.
She found the missing earring in the sugar bowl.
The judge of the cake contest ate very little.
The wheels of the pram were thick with mud.
The author signed books until her pen ran out.
No one has climbed the east face in winter.
The picnic ended when the first wasps arrived.
The customs officer opened a suitcase full of clocks.
The pears are still hard, but the plums are ripe.
He wrapped the present in yesterday's newspaper.
The parrot repeats whatever the landlord says.
The mayor's office is above the fire station.
Our tent leaked, so we slept in the car.
The astronomer pointed her telescope at the youngest star.
The shepherd counted his flock by twos.
A freight train rumbled past the silent platform.
The students borrowed a skeleton for the school play.
I enjoy watching the ferries come and go.
The ivy has covered most of the northern wall.
The flute player broke her thumb while skiing.
You must not feed bread to the ducks here.
The stamps were worth more than the house.
The road to the quarry is closed on Fridays.
They grow rice and melons on the flat land by the sea.
The detective studied a smudge of jam on the handle.
The bottle floated for years before it came ashore.
Her garden is full of herbs with odd names.
The pony refused to walk past the scarecrow.
The radio predicted showers and a strong westerly breeze.
The statue in the park has lost its nose.
My friend repairs typewriters in a cellar near the port.
The ladder is behind the shed, next to the hose.
The boat's hull was painted the colour of rust.
A flock of starlings darkened the evening sky.
The sergeant whispered so that nobody would wake.
The grocer gave each child a slice of melon.
The bees were busy among the lavender bushes.
He learned to type with his eyes shut.
The volcano has been quiet for a thousand years.
The host poured elderflower juice into tall glasses.
The film was longer than the journey to the cinema.
The smell of toast drifted up the stairs.
She tied the parcel with a piece of green wool.
The window cleaner waved from the ninth floor.
The potatoes were planted deeper than usual this year.
The orchard belongs to a retired judge.
We missed the joke because of a passing lorry.
The dancers rested in the shadow of the stage.
The scientist named the beetle after her mother.
A good map is worth more than a fast horse.
The tap dripped steadily all through the night.
The children painted faces on smooth white pebbles.
Our flight was cancelled because of volcanic ash.
The butler cleaned the silver once a fortnight.
The castle kitchen could feed two hundred people.
The bus shelter is covered in bright posters.
His pockets were full of chalk and bits of wire.
The harvest festival takes place in the old barn.
The owl nests in a hollow beech by the stream.
The pianist adjusted her stool and took a deep breath.
The ice was thick enough to carry a horse.
They argue about football from morning till night.
The engineer drew the whole bridge on a napkin.
The soup is thin, but the dumplings are enormous.
Mother hung the washing between two birch trees.
The clown could not find his second shoe.
The warden locks the park gates at sunset.
The violin was made from a pear tree struck by lightning.
I usually take the stairs when the lift is crowded.
The gold ring slipped off and rolled into a drain.
The youngest rower kept perfect time.
The beach hut is let to a family from the city.
The vase was mended with thin lines of gold.
Our team lost every match but enjoyed the season.
The sign on the door was written in three alphabets.
A hot bath is the best cure for sore feet.
The mouse escaped behind the washing machine.
The king's portrait hangs above the pastry counter.
He sharpened four pencils and began the sketch.
The clouds parted just before the eclipse.
The woodcutter's hut has neither lock nor key.
The choirboys giggled during the solemn part.
The yacht followed the coast as far as the cape.
The cook saved the bones for a rich brown stock.
Her laugh can be heard across the whole office.
The journey north takes three days by sledge.
The wallpaper shows parrots among enormous leaves.
Nobody expected the quiet boy to win the debate.
The pavement was slippery after the first frost.
The beekeeper moved slowly and wore white.
The lecture on worms was surprisingly exciting.
The puppet's strings were hopelessly tangled.
You can see five counties from the top of this hill.
The train to the coast has only two carriages.
The fruit seller shouts louder than all the others.
The squirrel stole the nuts from my open window.
The courtyard echoes when anyone claps.
She drew the plan of the house in the sand.
The goldsmith's apprentice burned two of his fingers.
The ferry carries four cars and a dozen passengers.
A single lamp lit the long, narrow corridor.
The hedge has grown above the bedroom window.
The farmer's wife drives the larger tractor.
The bell rang, and the pupils rushed outside.
Our landlord forbids drums, trumpets and large dogs.
The cathedral roof took ninety years to build.
""".strip().splitlines()
)

_SUBJECTS = """
the tall plumber|my younger cousin|the village teacher|our new neighbour|a tired soldier|the cheerful baker
the old sailor|her oldest friend|the nervous actor|a clever student|the busy nurse|his former boss|the shy violinist
the station guard|a visiting judge|the youngest sister|the local poet|their noisy uncle|the famous chef|a lost tourist
the forest ranger|the night porter|my patient dentist|the bearded weaver|a curious child|the rival coach
""".strip()
_VERBS = """
borrowed|repaired|painted|noticed|carried|described|dropped|measured|polished|hid|bought|photographed|cleaned|found
admired|wrapped|moved|collected|chose|sketched|forgot|sold|unpacked|examined
""".strip()
_OBJECTS = """
a rusty bicycle|the yellow kite|two heavy suitcases|an empty jar|the broken clock|a bundle of letters|the green ladder
nine silver spoons|a box of matches|the leather gloves|an enormous pumpkin|the wooden horse|a pair of thick socks
the purple lampshade|three dusty bottles|a strange machine|the garden chairs|a basket of cherries|the torn map
a jug of cider|both umbrellas|the tiny harp|a roll of blue cloth|the chess board
""".strip()
_PLACES = """
behind the chapel|near the harbour|in the cellar|outside the bank|under the bridge|at the crowded market
beside the river|on the third floor|opposite the theatre|in a quiet side street|above the stables|by the southern gate
inside the greenhouse|at the edge of the wood|below the waterfall|in front of the school
""".strip()
_TIMES = """
before breakfast|last Thursday|at dawn|during the storm|after the concert|on a foggy evening|in early March
an hour too late|while nobody was watching|just in time for lunch|for the second time|without saying a word
""".strip()
_GRAMMAR = tuple(tuple(part.replace("\n", "|").split("|")) for part in (_SUBJECTS, _VERBS, _OBJECTS, _PLACES, _TIMES))


def composed(seed: int = 0) -> Iterator[str]:
    """Distinct sentences "<subject> <verb> <object> <place or time>", in an order drawn from the seed.

    The grammar holds 26 subjects, 24 verbs, 24 objects and 28 endings, some 400,000 sentences, none of them in ``SX``
    or ``SI``.

    >>> sentences = composed(seed=0)
    >>> next(sentences) != next(sentences)
    True
    """
    subjects, verbs, objects, places, times = _GRAMMAR
    parts = (subjects, verbs, objects, places + times)
    sizes = [len(part) for part in parts]
    total = int(np.prod(sizes))
    # a full cycle without a table: i * step mod total visits each number once when step and total share no factor
    rng = np.random.default_rng([seed, 1])
    step = int(rng.integers(total // 3, total // 2))
    while np.gcd(step, total) != 1:
        step += 1
    start = int(rng.integers(total))
    for i in range(total):
        indices = np.unravel_index((start + i * step) % total, sizes)
        text = " ".join(part[index] for part, index in zip(parts, indices, strict=True))
        if len(text.split()) <= 14:
            yield text[0].upper() + text[1:] + "."
